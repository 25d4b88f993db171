"""Recognition's state machine: what a client's messages ask for, and the messages results become."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import numpy as np
import pytest

from audio.stt.port import Transcript, TranscriptKind
from server.azure_emulator.audio_in import AudioIn
from server.azure_emulator.faults import Outgoing
from server.azure_emulator.frames import FrameError, decode
from server.azure_emulator.stt_phrases import Span
from server.azure_emulator.stt_request import read_request
from server.azure_emulator.stt_session import (
    BeginTurn,
    EndOfAudio,
    EndTurn,
    Failed,
    Finished,
    Hear,
    Partial,
    Phrase,
    Silence,
    SpeechStarted,
    SttCommand,
    SttSession,
)

HOST_PATH = "/speech/recognition/conversation/cognitiveservices/v1"
FIRST, SECOND = "a" * 32, "b" * 32


def session(query: Mapping[str, str] | None = None, *, turn_per_phrase: bool = False) -> SttSession:
    ids = count(1)
    return SttSession(HOST_PATH, query or {}, lambda: f"{next(ids):032x}", turn_per_phrase=turn_per_phrase)


def context(request_id: str = FIRST, **body: Any) -> str:
    return f"Path:speech.context\r\nX-RequestId:{request_id}\r\n\r\n{json.dumps(body)}"


def audio(payload: bytes, request_id: str = FIRST) -> bytes:
    head = f"Path:audio\r\nX-RequestId:{request_id}\r\nX-StreamId:1\r\n".encode()
    return len(head).to_bytes(2, "big") + head + payload


def header(rate_hz: int = 16_000, tag: int = 1, bits: int = 16, channels: int = 1) -> bytes:
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * block, block, bits)
    return b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + form + b"data\0\0\0\0"


def transcript(text: str, start: int = 1_600, end: int = 17_600, language: str | None = "en") -> Transcript:
    return Transcript(1, TranscriptKind.FLUSHED, text, start, end, language, confidence=0.5)


def sent(commands: Iterable[SttCommand]) -> list[tuple[str, dict[str, Any]]]:
    messages = [decode(command.frame) for command in commands if isinstance(command, Outgoing)]
    assert {message.request_id for message in messages} <= {FIRST, SECOND}
    return [(message.path, message.json()) for message in messages]


def test_a_context_opens_a_turn_with_turn_start_first() -> None:
    start, begin = session().feed(context(phraseDetection={"mode": "CONVERSATION", "language": "it-IT"}))
    assert sent([start]) == [("turn.start", {"context": {"serviceTag": f"{1:032x}"}})]
    assert isinstance(begin, BeginTurn)
    assert (begin.request.locale, begin.request.mode, begin.tag) == ("it-IT", "conversation", f"{1:032x}")


def test_audio_is_heard_from_behind_its_header_however_it_is_cut() -> None:
    samples = np.arange(-1_000, 1_000, dtype=np.int16)
    stream = header() + samples.astype("<i2").tobytes()
    for size in (1, 7, 44, 45, 3_200):
        machine = session()
        machine.feed(context())
        heard = [
            command.samples
            for at in range(0, len(stream), size)
            for command in machine.feed(audio(stream[at : at + size]))
            if isinstance(command, Hear)
        ]
        np.testing.assert_array_equal(np.concatenate(heard), samples)


@pytest.mark.parametrize(("rate_hz", "tag", "bits"), [(8_000, 1, 16), (48_000, 1, 16), (8_000, 7, 8), (8_000, 6, 8)])
def test_other_rates_and_telephony_become_16_khz(rate_hz: int, tag: int, bits: int) -> None:
    ear = AudioIn()
    payload = header(rate_hz, tag, bits) + bytes(rate_hz * bits // 8)  # one second
    assert len(ear.feed(payload)) + len(ear.flush()) == 16_000


def test_two_channels_become_one() -> None:
    pairs = np.array([[100, 300], [-50, 50]], "<i2")
    assert list(AudioIn().feed(header(channels=2) + pairs.tobytes())) == [200, 0]


@pytest.mark.parametrize("payload", [b"OggS" + bytes(40), header(bits=24), header(tag=85), header(rate_hz=16_001)])
def test_audio_that_is_not_understood_closes_the_connection(payload: bytes) -> None:
    machine = session()
    machine.feed(context())
    with pytest.raises(FrameError):
        machine.feed(audio(payload))


def test_audio_of_an_ended_turn_is_ignored() -> None:
    machine = session()
    assert machine.feed(audio(header())) == []
    machine.feed(context())
    machine.feed(context(SECOND))
    assert machine.feed(audio(header() + bytes(320), FIRST)) == []
    assert len(machine.feed(audio(header() + bytes(320), SECOND))) == 1


def test_the_end_of_audio_is_answered_by_end_of_dictation_and_turn_end() -> None:
    machine = session()
    machine.feed(context())
    machine.feed(audio(header() + bytes(320)))
    assert machine.feed(audio(b"")) == [EndOfAudio()]
    said = machine.encode(Finished(160))
    assert said[-1] == EndTurn()
    assert sent(said) == [
        ("speech.enddetected", {"Offset": 100_000}),
        (
            "speech.phrase",
            {
                "Id": f"{2:032x}",
                "RecognitionStatus": "EndOfDictation",
                "Offset": 100_000,
                "Duration": 0,
                "Channel": 0,
            },
        ),
        ("turn.end", {}),
    ]
    assert machine.encode(SpeechStarted(0)) == []


def test_a_simple_phrase_counts_in_units_of_100_ns() -> None:
    machine = session()
    machine.feed(context())
    assert sent(machine.encode(SpeechStarted(3_200))) == [("speech.startdetected", {"Offset": 2_000_000})]
    assert sent(machine.encode(Phrase(transcript("Hello, world.")))) == [
        (
            "speech.phrase",
            {
                "Id": f"{2:032x}",
                "RecognitionStatus": "Success",
                "DisplayText": "Hello, world.",
                "Offset": 1_000_000,
                "Duration": 10_000_000,
                "Channel": 0,
            },
        )
    ]


def test_a_detailed_phrase_has_words_that_fill_it_in_order() -> None:
    machine = session({"format": "detailed", "wordLevelTimestamps": "true", "wordLevelConfidence": "true"})
    machine.feed(context())
    ((_, body),) = sent(machine.encode(Phrase(transcript("Hello, big world."))))
    (best,) = body["NBest"]
    assert (best["Confidence"], best["Lexical"], best["Display"]) == (0.5, "hello big world", "Hello, big world.")
    assert best["ITN"] == best["MaskedITN"] == "hello big world"
    words = best["Words"]
    assert [word["Word"] for word in words] == ["hello", "big", "world"]
    assert words[0]["Offset"] == body["Offset"]
    ends = [word["Offset"] + word["Duration"] for word in words]
    assert ends[:-1] == [word["Offset"] for word in words[1:]]
    assert ends[-1] == body["Offset"] + body["Duration"]
    assert all(word["Confidence"] == 0.5 for word in words)


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (Phrase(transcript("")), "NoMatch"),
        (Silence(Span(0, 16_000)), "InitialSilenceTimeout"),
        (Failed(Span(0, 16_000)), "Error"),
    ],
)
def test_phrases_without_words_say_why(result: Any, status: str) -> None:
    machine = session()
    machine.feed(context())
    ((path, body),) = sent(machine.encode(result))
    assert (path, body["RecognitionStatus"], body["Duration"]) == ("speech.phrase", status, 10_000_000)
    assert "DisplayText" not in body


def test_a_turn_per_phrase_ends_behind_it_and_the_next_one_begins() -> None:
    machine = session(turn_per_phrase=True)
    machine.feed(context())
    said = machine.encode(Phrase(transcript("Hello.")))
    assert [path for path, _ in sent(said)] == ["speech.enddetected", "speech.phrase", "turn.end"]
    assert said[-1] == EndTurn()
    assert machine.feed(audio(header() + bytes(320))) == []
    continued = {"previousServiceTag": "t1", "audio": {"streams": {"1": {"offset": "13000000"}}}}
    _, begin = machine.feed(context(SECOND, continuation=continued))
    assert isinstance(begin, BeginTurn)
    assert (begin.request.previous_tag, begin.request.offset_ticks) == ("t1", 13_000_000)


def test_one_phrase_ends_an_interactive_turn() -> None:
    machine = session()
    machine.feed(context(phraseDetection={"mode": "INTERACTIVE"}))
    assert machine.encode(Phrase(transcript("Yes.")))[-1] == EndTurn()


def test_hypotheses_show_only_words_as_stable_as_the_client_wants() -> None:
    machine = session()
    machine.feed(context(phraseOutput={"interimResults": {"stableThreshold": 2}}))
    texts = ["go", "go four", "go for", "go forward ten", "go forward ten"]
    shown = [body["Text"] for text in texts for _, body in sent(machine.encode(Partial(transcript(text))))]
    assert shown == ["go", "go forward ten"]


def test_the_identified_language_is_one_of_the_candidates() -> None:
    machine = session({"lidEnabled": "de-DE,en-GB"})
    machine.feed(context())
    ((_, body),) = sent(machine.encode(Phrase(transcript("Hello."))))
    assert body["PrimaryLanguage"] == {"Language": "en-GB", "Confidence": "High"}
    ((_, body),) = sent(machine.encode(Partial(transcript("Ciao", language="it"))))
    assert body["PrimaryLanguage"]["Language"] == "de-DE"


def test_what_a_client_asks_for_is_read_from_query_and_context() -> None:
    query = {
        "language": "en-us",
        "format": "detailed",
        "initialSilenceTimeoutMs": "1500",
        "stableIntermediateThreshold": "3",
        "profanity": "raw",
    }
    request = read_request(HOST_PATH, query, {})
    assert (request.locale, request.detailed, request.initial_silence_ms) == ("en-us", True, 1_500)
    assert (request.stable_threshold, request.profanity, request.segmentation_ms) == (3, "raw", 500)
    context_body = {
        "phraseDetection": {
            "mode": "CONVERSATION",
            "initialSilenceTimeout": 2_000,
            "CONVERSATION": {"segmentation": {"mode": "Custom", "segmentationSilenceTimeoutMs": 300}},
        },
        "phraseOutput": {"format": "Simple"},
        "dgi": {"Groups": [{"Type": "Generic", "Items": [{"Text": "Convergio"}, {"Text": ""}, 7]}], "bias": 1.0},
    }
    request = read_request("/stt/speech/universal/v2", {}, context_body)
    assert (request.initial_silence_ms, request.segmentation_ms, request.detailed) == (2_000, 300, False)
    assert request.phrases == ("Convergio",)


@pytest.mark.parametrize(
    "body",
    [
        {"phraseDetection": []},
        {"phraseDetection": {"initialSilenceTimeout": "soon", "CONVERSATION": 1}},
        {"dgi": {"Groups": {"Items": 1}}},
        {"languageId": {"languages": [1, None]}},
        {"continuation": {"audio": {"streams": {"1": None}}}},
    ],
)
def test_what_makes_no_sense_counts_as_not_said(body: dict[str, Any]) -> None:
    assert read_request(HOST_PATH, {}, body) == read_request(HOST_PATH, {}, {})


def test_an_interactive_path_is_a_mode() -> None:
    assert read_request(HOST_PATH.replace("conversation", "interactive"), {}, {}).mode == "interactive"
