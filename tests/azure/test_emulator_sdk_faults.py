"""What the genuine Speech SDK makes of everything that can go wrong on the emulator: the table of the guide, as tests.

Retries are cut short by the SDK's own settings where their number is not what is tested.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.azure.emulator_process import EmulatorProcess, azure_emulator
from tests.azure.sdk_runner import SdkRunner, of

pytest.importorskip("azure.cognitiveservices.speech")

GO_FORWARD = str(Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav")
SAID = "Go forward ten meters."
TEXT = "Hello there, this is a test."
TALKING: list[str | float] = [GO_FORWARD, 1.0, *[0.1] * 20]
"""A microphone goes on: without new audio the SDK does not notice some failures."""
ONE_RETRY = {"SPEECH-Error-MaxRetryCount": 1, "SPEECH-StopRecognitionTimeoutInSeconds": 1}
IMPATIENT = {"SpeechSynthesis_FrameTimeoutInterval": 400, "SpeechSynthesis_RtfTimeoutThreshold": 1}


@pytest.fixture(scope="module")
def service() -> Generator[EmulatorProcess]:
    with azure_emulator("--say", SAID) as emulator:
        yield emulator


def talk(emulator: EmulatorProcess, sdk: SdkRunner, **more: Any) -> dict[str, Any]:
    """Recognition of one phrase from a microphone that goes on for two seconds."""
    usual = {"audio": TALKING, "between_s": 0.05, "close": False, "wait_s": 0.5, "properties": ONE_RETRY}
    return sdk.run("stt", url=emulator.ws_url, **{**usual, **more})


@pytest.mark.parametrize(
    ("preset", "code", "upgrades"),
    [
        ("unauthorized", "AuthenticationFailure", 1),
        ("forbidden", "AuthenticationFailure", 1),
        ("bad-request", "BadRequest", 1),
        ("not-found", "ServiceError", 2),
        ("throttled", "TooManyRequests", 2),
        ("broken", "ServiceError", 2),
        ("unavailable", "ServiceUnavailable", 2),
        ("reset", "ConnectionFailure", 2),
        ("close-bad-data", "BadRequest", 1),
        ("close-policy", "ConnectionFailure", 2),
        ("close-error", "ServiceError", 2),
        ("close-restart", "ServiceError", 2),
        ("close-throttled", "TooManyRequests", 1),
        ("phrase-error", "ServiceError", 2),
        ("phrase-throttled", "TooManyRequests", 2),
        ("phrase-bad-request", "BadRequest", 2),
    ],
)
def test_recognition_is_canceled(
    emulator: EmulatorProcess, sdk: SdkRunner, preset: str, code: str, upgrades: int
) -> None:
    emulator.inject(preset=preset, service="stt")
    report = talk(emulator, sdk)
    (canceled,) = of(report, "canceled")
    assert (canceled["reason"], canceled["code"]) == ("Error", code)
    assert not of(report, "recognized")
    assert emulator.state()["upgrades"] == upgrades


@pytest.mark.parametrize("preset", ["close-normal", "silent"])
def test_recognition_hears_nothing_of_it_until_it_is_stopped(
    emulator: EmulatorProcess, sdk: SdkRunner, preset: str
) -> None:
    emulator.inject(preset=preset, service="stt")
    report = talk(emulator, sdk)
    (stopping,) = of(report, "stopping")
    assert all(each["ms"] > stopping["ms"] for each in of(report, "canceled"))
    assert report["stop_ms"] > 900


def test_an_upgrade_that_is_never_answered_is_waited_for_in_silence(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    emulator.inject(preset="no-upgrade", service="stt")
    report = talk(emulator, sdk)
    assert report["events"][0]["event"] == "stopping"
    assert emulator.state()["upgrades"] == 1


@pytest.mark.parametrize(
    ("fault", "upgrades"),
    [
        ({"preset": "unavailable", "times": 2}, 3),
        ({"preset": "throttled", "times": 1}, 2),
        ({"preset": "redirect-loop", "times": 5}, 6),
        ({"preset": "reset", "times": 1}, 2),
        ({"preset": "close-error", "times": 1}, 2),
        ({"kind": "abort", "at": "hypothesis", "after": 2, "times": 1}, 2),
        ({"kind": "abort", "at": "open", "times": 1}, 2),
        ({"preset": "garbage"}, 1),
        ({"preset": "garbage", "at": "phrase"}, 1),
        ({"preset": "slow", "at": "phrase", "ms": 300}, 1),
    ],
)
def test_recognition_recovers_and_loses_nothing(
    emulator: EmulatorProcess, sdk: SdkRunner, fault: dict[str, Any], upgrades: int
) -> None:
    emulator.inject(service="stt", **fault)
    report = talk(emulator, sdk, properties={}, phrases_wanted=1, wait_s=5.0)
    assert [each["text"] for each in of(report, "recognized")] == [SAID]
    assert not of(report, "canceled")
    assert emulator.state()["upgrades"] == upgrades


def test_recognition_tries_five_times_within_little_more_than_a_second(
    emulator: EmulatorProcess, sdk: SdkRunner
) -> None:
    emulator.inject(preset="unavailable", service="stt")
    report = talk(emulator, sdk, properties={})
    assert emulator.state()["upgrades"] == 5
    assert 900 < of(report, "canceled")[0]["ms"] < 3_000


def test_a_turn_that_does_not_end_makes_stopping_slow(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    emulator.inject(preset="no-turn-end", service="stt")
    report = talk(emulator, sdk, phrases_wanted=1)
    assert [each["text"] for each in of(report, "recognized")] == [SAID]
    assert report["stop_ms"] > 900
    assert of(report, "canceled")[0]["code"] == "ServiceTimeout"


@pytest.mark.parametrize(
    ("fault", "code", "upgrades", "has_audio"),
    [
        ({"preset": "unauthorized"}, "AuthenticationFailure", 1, False),
        ({"preset": "forbidden"}, "AuthenticationFailure", 1, False),
        ({"preset": "bad-request"}, "BadRequest", 1, False),
        ({"preset": "not-found"}, "ServiceError", 2, False),
        ({"preset": "throttled"}, "TooManyRequests", 2, False),
        ({"preset": "broken"}, "ServiceError", 2, False),
        ({"preset": "unavailable"}, "ServiceUnavailable", 2, False),
        ({"preset": "reset", "at": "request"}, "ConnectionFailure", 2, False),
        ({"preset": "reset", "after": 3}, "ConnectionFailure", 1, True),
        ({"preset": "close-bad-data", "at": "request"}, "BadRequest", 1, False),
        ({"preset": "close-bad-data", "after": 3}, "BadRequest", 1, True),
        ({"preset": "close-policy", "at": "request"}, "ConnectionFailure", 2, False),
        ({"preset": "close-error", "at": "request"}, "ServiceError", 2, False),
        ({"preset": "close-restart", "at": "request"}, "ServiceError", 2, False),
        ({"preset": "close-error", "after": 3}, "ServiceError", 1, True),
        ({"preset": "close-throttled", "at": "request"}, "TooManyRequests", 1, False),
        ({"preset": "close-throttled", "after": 3}, "TooManyRequests", 1, True),
        ({"preset": "close-normal", "after": 3}, "ServiceTimeout", 1, True),
        ({"preset": "no-turn-end"}, "ServiceTimeout", 1, True),
        ({"preset": "gap"}, "ServiceTimeout", 1, True),
        ({"kind": "stall", "at": "audio", "after": 3}, "ServiceTimeout", 1, True),
    ],
)
def test_synthesis_is_canceled(
    emulator: EmulatorProcess, sdk: SdkRunner, fault: dict[str, Any], code: str, upgrades: int, *, has_audio: bool
) -> None:
    emulator.inject(service="tts", **fault)
    report = sdk.run("tts", url=emulator.ws_url, text=TEXT, marks=False, properties=IMPATIENT)
    assert (report["reason"], report["canceled"]["code"]) == ("Canceled", code)
    assert bool(report["bytes"]) == has_audio
    assert emulator.state()["upgrades"] == upgrades


@pytest.mark.parametrize(
    ("fault", "upgrades"),
    [
        ({"preset": "unavailable", "times": 1}, 2),
        ({"preset": "reset", "at": "request", "times": 1}, 2),
        ({"preset": "garbage"}, 1),
        ({"preset": "garbage", "at": "audio", "after": 2}, 1),
        ({"preset": "slow", "at": "response", "ms": 300}, 1),
        ({"preset": "slow-voice", "factor": 0.5}, 1),
    ],
)
def test_synthesis_recovers(emulator: EmulatorProcess, sdk: SdkRunner, fault: dict[str, Any], upgrades: int) -> None:
    emulator.inject(service="tts", **fault)
    report = sdk.run("tts", url=emulator.ws_url, text=TEXT, marks=False)
    assert report["reason"] == "SynthesizingAudioCompleted"
    assert emulator.state()["upgrades"] == upgrades


def test_streamed_text_meets_the_same_faults(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    emulator.inject(preset="reset", service="tts", after=2)
    report = sdk.run("tts", url=emulator.ws_url, pieces=["Hello there. ", "How are you?"], marks=False)
    assert report["canceled"]["code"] == "ConnectionFailure"
    assert report["bytes"]


def test_faults_of_one_service_leave_the_other_alone(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    emulator.inject(preset="unavailable", service="tts")
    report = talk(emulator, sdk, phrases_wanted=1)
    assert [each["text"] for each in of(report, "recognized")] == [SAID]
