"""The genuine Speech SDK against the emulator, nothing going wrong: both configuration styles, both services."""

from __future__ import annotations

import wave
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.azure.emulator_process import EmulatorProcess, azure_emulator
from tests.azure.sdk_runner import SdkRunner, of

pytest.importorskip("azure.cognitiveservices.speech")

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
GO_FORWARD = str(SPEECH / "goforward.wav")
CARDS = str(SPEECH / "cards_005.wav")
KEY = "right-key"
STYLES = ("host", "endpoint")
SCRIPT = ("Go forward ten meters.", "Turn left.", "Stop.")


@pytest.fixture(scope="module")
def service() -> Generator[EmulatorProcess]:
    says = [argument for phrase in SCRIPT for argument in ("--say", phrase)]
    with azure_emulator("--key", KEY, *says) as emulator:
        yield emulator


def texts(report: dict[str, Any]) -> list[str]:
    return [each["text"] for each in of(report, "recognized")]


# --- speech-to-text ---


@pytest.mark.parametrize("style", STYLES)
def test_a_pushed_stream_is_recognized_phrase_by_phrase(emulator: EmulatorProcess, sdk: SdkRunner, style: str) -> None:
    audio = [GO_FORWARD, 1.0, GO_FORWARD, 1.0]
    report = sdk.run("stt", url=emulator.ws_url, key=KEY, style=style, detailed=True, audio=audio)
    assert texts(report) == list(SCRIPT[:2])
    assert of(report, "canceled")[0]["code"] == "NoError"
    assert of(report, "recognizing")[0]["text"] == "Go"
    first, second = of(report, "recognized")
    assert second["offset"] - first["offset"] == pytest.approx(37_900_000, abs=300_000)
    words = second["json"]["NBest"][0]["Words"]
    assert [word["Word"] for word in words] == ["turn", "left"]
    assert second["offset"] <= words[0]["Offset"] < words[1]["Offset"] < second["offset"] + second["duration"]
    (connection,) = emulator.state()["connections"]
    assert connection["path"].startswith("/speech/recognition/" if style == "host" else "/stt/speech/universal/v2")
    assert connection["auth"] == "key"


def test_a_turn_per_phrase_looks_the_same_to_the_caller(sdk: SdkRunner) -> None:
    with azure_emulator("--turn-per-phrase", "--say", "One.", "--say", "Two.") as emulator:
        audio = [GO_FORWARD, 1.0, GO_FORWARD, 1.0]
        report = sdk.run("stt", url=emulator.ws_url, detailed=True, audio=audio)
        state = emulator.state()
    assert texts(report) == ["One.", "Two."]
    first, second = of(report, "recognized")
    assert second["offset"] - first["offset"] == pytest.approx(37_900_000, abs=300_000)
    assert second["json"]["NBest"][0]["Words"][0]["Offset"] == second["offset"]
    assert state["accepted"] == 1
    assert state["turns"] >= 2


def test_phrase_lists_and_timeouts_arrive(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    wishes = {"Speech_SegmentationSilenceTimeoutMs": 300, "SpeechServiceResponse_StablePartialResultThreshold": 2}
    report = sdk.run(
        "stt", url=emulator.ws_url, key=KEY, phrases=["Convergio"], audio=[GO_FORWARD, 1.0], properties=wishes
    )
    assert texts(report) == [SCRIPT[0]]
    connection = emulator.state()["connections"][0]
    context = connection["contexts"][0]
    assert context["dgi"]["Groups"][0]["Items"][0]["Text"] == "Convergio"
    assert connection["query"]["stableIntermediateThreshold"] == "2"
    segmentation = context["phraseDetection"]["CONVERSATION"]["segmentation"]
    assert segmentation["segmentationSilenceTimeoutMs"] == 300


@pytest.mark.parametrize("style", STYLES)
def test_the_language_is_identified(emulator: EmulatorProcess, sdk: SdkRunner, style: str) -> None:
    report = sdk.run(
        "stt", url=emulator.ws_url, key=KEY, style=style, languages=["de-DE", "en-US"], audio=[GO_FORWARD, 0.5]
    )
    assert [each["language"] for each in of(report, "recognized")] == ["en-US"]


def test_silence_is_no_match(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    wishes = {"SpeechServiceConnection_InitialSilenceTimeoutMs": 1_000}
    report = sdk.run("stt", url=emulator.ws_url, key=KEY, audio=[1.5], properties=wishes, phrases_wanted=1)
    assert of(report, "recognized")[0]["reason"] == "NoMatch"


def test_a_connection_that_has_lasted_long_enough_is_closed_and_recognition_goes_on(sdk: SdkRunner) -> None:
    with azure_emulator("--connection-limit", "1", "--say", "One.", "--say", "Two.") as emulator:
        audio: list[str | float] = [GO_FORWARD, *[0.1] * 20, GO_FORWARD, 1.0]
        report = sdk.run("stt", url=emulator.ws_url, audio=audio, between_s=0.1)
        state = emulator.state()
    assert texts(report) == ["One.", "Two."]
    assert state["accepted"] >= 2


# --- text-to-speech ---


@pytest.mark.parametrize("style", STYLES)
def test_a_document_is_spoken_with_its_marks_in_order(emulator: EmulatorProcess, sdk: SdkRunner, style: str) -> None:
    ssml = (
        "<speak version='1.0' xmlns='http://www.w3.org/2001/10/synthesis' xml:lang='en-US'>"
        "<voice name='en-US-JennyNeural'>One two. <bookmark mark='here'/><break time='200ms'/>"
        "<prosody rate='+10%'>Three, four!</prosody></voice></speak>"
    )
    report = sdk.run("tts", url=emulator.ws_url, key=KEY, style=style, ssml=ssml)
    assert report["reason"] == "SynthesizingAudioCompleted"
    words = [each for each in of(report, "word") if each["kind"] == "Word"]
    assert [word["text"] for word in words] == ["One", "two", "Three", "four"]
    assert all(before["offset"] < after["offset"] for before, after in pairwise(words))
    assert [ssml[word["text_offset"] :].startswith(word["text"]) for word in words] == [True] * 4
    assert [each["text"] for each in of(report, "word") if each["kind"] == "Punctuation"] == [".", ",", "!"]
    assert of(report, "bookmark")[0]["text"] == "here"
    assert of(report, "viseme")
    assert report["bytes"] == sum(each["bytes"] for each in of(report, "synthesizing"))


def test_streamed_text_is_spoken_while_it_comes(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    report = sdk.run(
        "tts",
        url=f"{emulator.ws_url}/tts/cognitiveservices/websocket/v2",
        style="endpoint",
        key=KEY,
        pieces=["Hello there. ", "How are ", "you?"],
        between_s=0.2,
    )
    assert report["reason"] == "SynthesizingAudioCompleted"
    assert of(report, "synthesizing")[0]["ms"] < 200
    assert [each["text"] for each in of(report, "word") if each["kind"] == "Word"] == "Hello there How are you".split()


@pytest.mark.parametrize(
    ("form", "bytes_per_s"),
    [
        ("Raw8Khz16BitMonoPcm", 16_000),
        ("Raw8Khz8BitMonoMULaw", 8_000),
        ("Raw24Khz16BitMonoPcm", 48_000),
        ("Raw48Khz16BitMonoPcm", 96_000),
        ("Riff16Khz16BitMonoPcm", 32_000),
    ],
)
def test_formats_are_as_asked_for(emulator: EmulatorProcess, sdk: SdkRunner, form: str, bytes_per_s: int) -> None:
    report = sdk.run("tts", url=emulator.ws_url, key=KEY, text="0123456789", format=form, marks=False)
    head = 46 if form.startswith("Riff") else 0
    assert report["bytes"] - head == pytest.approx(bytes_per_s * 0.6, abs=32)


# --- who may ---


def test_a_token_of_its_own_opens_it_and_a_wrong_key_does_not(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    right = sdk.run("tts", url=emulator.ws_url, token=emulator.token(KEY), text="Hi.")
    assert right["reason"] == "SynthesizingAudioCompleted"
    wrong = sdk.run("tts", url=emulator.ws_url, token="nonsense", text="Hi.")
    assert wrong["canceled"]["code"] == "AuthenticationFailure"
    wrong = sdk.run("stt", url=emulator.ws_url, key="wrong-key", audio=[GO_FORWARD])
    assert of(wrong, "canceled")[0]["code"] == "AuthenticationFailure"
    assert [connection["auth"] for connection in emulator.state()["connections"]] == ["token", "token", "key"]


def test_voices_are_listed(emulator: EmulatorProcess, sdk: SdkRunner) -> None:
    report = sdk.run("voices", url=emulator.ws_url, key=KEY, locale="en-US")
    assert report["reason"] == "VoicesListRetrieved"
    assert "en-US-JennyNeural" in report["voices"]
    assert len(sdk.run("voices", url=emulator.ws_url, key=KEY)["voices"]) > len(report["voices"])
    assert sdk.run("voices", url=emulator.ws_url, key="wrong")["reason"] == "Canceled"


def test_control_is_plain_http(emulator: EmulatorProcess) -> None:
    url = emulator.http_url
    assert httpx.get(f"{url}/emulator/health").json() == {"status": "ok", "engines": "scripted"}
    assert httpx.post(f"{url}/emulator/faults", json={"preset": "no such"}).status_code == 400
    assert httpx.post(f"{url}/emulator/faults", content=b"{").status_code == 400
    assert len(httpx.post(f"{url}/emulator/faults", json=[{"preset": "slow"}] * 2).json()["faults"]) == 2
    assert httpx.delete(f"{url}/emulator/faults").json() == {"faults": []}
    assert httpx.post(f"{url}/sts/v1.0/issueToken").status_code == 401
    assert httpx.get(f"{url}/nothing").status_code == 404


# --- with the embedded engines ---


@pytest.mark.engines
@pytest.mark.timeout(180)
def test_real_speech_goes_both_ways(sdk: SdkRunner, tmp_path: Path) -> None:
    for package in ("faster_whisper", "piper", "onnxruntime"):
        pytest.importorskip(package)
    saved, spoken = tmp_path / "speech.raw", tmp_path / "speech.wav"
    with azure_emulator(scripted=False) as emulator:
        report = sdk.run("stt", url=emulator.ws_url, detailed=True, audio=[GO_FORWARD, 1.0, CARDS, 1.0], wait_s=40.0)
        first, second = of(report, "recognized")
        assert first["json"]["NBest"][0]["Lexical"] in ("go forward 10 meters", "go forward ten meters")
        assert "spades" in second["text"]
        spades = next(word for word in second["json"]["NBest"][0]["Words"] if word["Word"] == "spades")
        assert 38_000_000 < spades["Offset"] < 60_000_000
        for said in (
            {"text": "Go forward ten meters, please."},
            {"pieces": ["Go forward ", "ten meters, ", "please."]},
        ):
            report = sdk.run("tts", url=emulator.ws_url, format="Raw16Khz16BitMonoPcm", save=str(saved), **said)
            assert report["reason"] == "SynthesizingAudioCompleted"
            offsets = [each["offset"] for each in of(report, "word")]
            assert offsets == sorted(offsets)
            assert offsets
            with wave.open(str(spoken), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(16_000)
                file.writeframes(saved.read_bytes())
            heard = sdk.run("stt", url=emulator.ws_url, audio=[str(spoken), 1.0], wait_s=30.0)
            assert texts(heard)[0].lower().startswith(("go forward 10 meters", "go forward ten meters"))


@pytest.fixture(scope="module", params=[(), ("--turn-per-phrase",)], ids=["one-turn", "turn-per-phrase"])
def counting(request: pytest.FixtureRequest) -> Generator[EmulatorProcess]:
    with azure_emulator(*request.param, "--say", "One.", "--say", "Two.", "--say", "Three.") as emulator:
        yield emulator


@pytest.mark.parametrize("fault", [{"at": "hypothesis", "after": 2}, {"at": "phrase", "after": 1}])
def test_words_and_offsets_survive_a_lost_connection(
    sdk: SdkRunner, counting: EmulatorProcess, fault: dict[str, Any]
) -> None:
    counting.reset()
    counting.inject(kind="abort", service="stt", times=1, **fault)
    audio: list[str | float] = [*[GO_FORWARD, 1.0] * 3, *[0.1] * 5]
    at_once = {"SPEECH-TransmitLengthBeforThrottleMs": 60_000}
    report = sdk.run("stt", url=counting.ws_url, detailed=True, audio=audio, between_s=0.05, properties=at_once)
    state = counting.state()
    assert texts(report) == ["One.", "Two.", "Three."]
    assert state["accepted"] == 2
    offsets = [each["offset"] for each in of(report, "recognized")]
    assert [later - earlier for earlier, later in pairwise(offsets)] == pytest.approx([37_862_500] * 2, abs=200_000)
    for each in of(report, "recognized"):
        assert each["json"]["NBest"][0]["Words"][0]["Offset"] == each["offset"]
