"""What our port reports when the service misbehaves, with the genuine SDK: an error of ours within our limit, no hang,
nothing left behind. Each fault of the table in ``audio.azure.errors`` and those in which the SDK goes silent."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from azure.azure_engines import Ears, clip, flat, natives, recognizing, say, speaking
from azure.emulator_process import EmulatorProcess, azure_emulator

from audio.azure.settings import AzurePlace, AzureSttLimits, AzureSttSettings, AzureTtsLimits, AzureTtsSettings
from audio.errors import EngineError, EngineKeyRejected, EngineOverloaded, EngineTimeout, EngineUnavailable
from audio.stt.port import SttOptions, TranscriptKind
from audio.tts.port import SpeechRequest

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")

PLACE = AzurePlace(host="ws://unused")
STT = AzureSttSettings(PLACE, limits=AzureSttLimits(connect_s=1.0, first_result_s=0.7, final_s=1.0, stop_s=1.0))
PATIENT = AzureSttSettings(PLACE, limits=AzureSttLimits(connect_s=0.7, first_result_s=0.7, final_s=4.0, stop_s=1.0))
"""Where the SDK's own word is waited for: it comes after five attempts, and our limit for an answer would be first."""
SPEECH = clip()[7_000:38_000]
PACE = 4.0
"""Speech in a quarter of its time: a connection that breaks is noticed when audio goes on."""
TTS = AzureTtsSettings(PLACE, limits=AzureTtsLimits(first_audio_s=1.0, gap_s=1.0))


@pytest.fixture(scope="module")
def service() -> Iterator[EmulatorProcess]:
    with azure_emulator("--say", "Go forward ten meters.") as emulator:
        yield emulator


@pytest.mark.parametrize(
    ("fault", "expected", "within_s"),
    [
        ("unauthorized", EngineKeyRejected, 1.5),
        ("forbidden", EngineKeyRejected, 1.5),
        ("bad-request", EngineUnavailable, 1.5),
        ("throttled", EngineOverloaded, 3.0),
        ("not-found", EngineError, 3.0),
        ("broken", EngineError, 3.0),
        ("unavailable", EngineOverloaded, 3.0),
        ("redirect-loop", EngineTimeout, 4.0),
        ("no-upgrade", EngineTimeout, 4.0),
        ("silent", EngineTimeout, 6.0),
        ("close-bad-data", EngineUnavailable, 6.0),
        ("close-throttled", EngineOverloaded, 6.0),
    ],
)
async def test_recognition_reports_a_fault_within_its_limits(
    emulator: EmulatorProcess, fault: str, expected: type[EngineError], within_s: float
) -> None:
    before = natives()
    emulator.inject(preset=fault, service="stt")
    async with recognizing(emulator.ws_url, STT if fault == "silent" else PATIENT) as engine:
        ears = Ears()
        began_s = time.monotonic()
        stream = await engine.open(SttOptions(partials=False), ears.on_transcript, ears.on_failure)
        stream.begin(1, 0)
        stream.flush(1, await say(stream, SPEECH, 0, pace=PACE))
        await ears.until(lambda: ears.failures)
        assert type(ears.failures[0]) is expected
        assert ears.answered_at_s - began_s < within_s
        assert "any" not in str(ears.failures[0]).split(), "the key is not in the error"
        await stream.aclose()
    await flat(before)


@pytest.mark.parametrize(
    "fault", ["close-normal", "close-policy", "close-error", "close-restart", "reset", "phrase-error", "no-turn-end"]
)
async def test_a_recognizer_lost_in_mid_speech_is_replaced_and_no_word_is_lost(
    emulator: EmulatorProcess, fault: str
) -> None:
    before = natives()
    emulator.inject(preset=fault, service="stt", times=2)
    async with recognizing(emulator.ws_url, STT) as engine:
        await engine.warm_up()
        ears = Ears()
        stream = await engine.open(SttOptions(), ears.on_transcript, ears.on_failure)
        stream.begin(1, 0)
        stream.flush(1, await say(stream, SPEECH, 0, pace=PACE))
        await ears.until(lambda: ears.answers)
        assert ears.of(TranscriptKind.FLUSHED) == ["Go forward ten meters."]
        await stream.aclose()
    await flat(before)


@pytest.mark.parametrize(
    ("fault", "expected", "within_s"),
    [
        ("unauthorized", EngineKeyRejected, 1.5),
        ("throttled", EngineOverloaded, 1.5),
        ("broken", EngineError, 1.5),
        ("unavailable", EngineOverloaded, 1.5),
        ("no-upgrade", EngineTimeout, 3.0),
        ("silent", EngineTimeout, 3.0),
        ("close-normal", EngineTimeout, 3.0),
        ("close-bad-data", EngineUnavailable, 1.5),
        ("close-error", EngineError, 1.5),
        ("close-throttled", EngineOverloaded, 1.5),
        ("reset", EngineError, 1.5),
        ("no-turn-end", EngineTimeout, 2.0),
        ("gap", EngineTimeout, 2.0),
    ],
)
async def test_synthesis_reports_a_fault_within_its_limits(
    emulator: EmulatorProcess, fault: str, expected: type[EngineError], within_s: float
) -> None:
    before = natives()
    emulator.inject(preset=fault, service="tts")
    async with speaking(emulator.ws_url, TTS) as engine:
        began_s = time.monotonic()
        with pytest.raises(EngineError) as failure:
            async for _ in engine.speak(SpeechRequest("Good morning, how are you today?")):
                pass
        assert type(failure.value) is expected
        assert time.monotonic() - began_s < within_s + 1.0
    await flat(before)


async def test_a_socket_that_died_before_any_sound_is_replaced_unnoticed(emulator: EmulatorProcess) -> None:
    emulator.inject(kind="abort", at="response", service="tts", times=2)
    async with speaking(emulator.ws_url, TTS) as engine:
        assert [piece async for piece in engine.speak(SpeechRequest("Still here."))]
