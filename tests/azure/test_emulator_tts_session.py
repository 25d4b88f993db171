"""Synthesis: SSML, streamed text, formats, marks, and the messages of a turn."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.stt.port import WordTiming
from audio.tts.scripted import ScriptedTextToSpeech, ScriptedVoice
from server.azure_emulator.audio_out import AudioOut, UnsupportedFormat, output_format
from server.azure_emulator.faults import Outgoing
from server.azure_emulator.frames import FrameError, Message, decode
from server.azure_emulator.speaking import Speaking
from server.azure_emulator.ssml import Manner, Mark, Pause, Say, SsmlError, read_ssml
from server.azure_emulator.tts_marks import phrase_events
from server.azure_emulator.tts_pieces import LONG_CLAUSE, PieceSplitter
from server.azure_emulator.tts_session import Begin, End, Speak, TtsSession, Utterance, Wanted

REQUEST = "c" * 32
NAMESPACES = (
    "version='1.0' xmlns='http://www.w3.org/2001/10/synthesis' xmlns:mstts='http://www.w3.org/2001/mstts' "
    "xml:lang='en-US'"
)


def ssml(body: str, voice: str = "en-US-JennyNeural") -> str:
    return f"<speak {NAMESPACES}><voice name='{voice}'>{body}</voice></speak>"


def text(path: str, body: str, request_id: str = REQUEST) -> str:
    return f"Path:{path}\r\nX-RequestId:{request_id}\r\nContent-Type:text/plain\r\n\r\n{body}"


def context(form: str = "raw-24khz-16bit-mono-pcm", given: dict[str, Any] | None = None, **flags: bool) -> str:
    synthesis: dict[str, Any] = {"audio": {"outputFormat": form, "metadataOptions": flags}}
    if given is not None:
        synthesis["input"] = given
    return text("synthesis.context", json.dumps({"synthesis": synthesis}))


def session() -> TtsSession:
    ids = count(1)
    return TtsSession(lambda: f"{next(ids):032x}")


# --- SSML ---


def test_words_pauses_and_marks_come_in_order() -> None:
    body = "One  two. <bookmark mark='here'/><break time='1.5s'/>Three &amp; four!"
    manner = Manner(voice="en-US-JennyNeural")
    assert read_ssml(ssml(body)) == (Say("One two.", manner), Mark("here"), Pause(1_500), Say("Three & four!", manner))


@pytest.mark.parametrize(
    ("prosody", "rate", "volume"),
    [
        ("rate='+20%'", 1.2, 1.0),
        ("rate='0.8'", 0.8, 1.0),
        ("rate='fast'", 1.55, 1.0),
        ("rate='9'", 2.0, 1.0),
        ("volume='40'", 1.0, 0.4),
        ("volume='-20%'", 1.0, 0.8),
        ("volume='silent' pitch='+5Hz'", 1.0, 0.0),
    ],
)
def test_prosody_is_understood(prosody: str, rate: float, volume: float) -> None:
    (said,) = read_ssml(ssml(f"<prosody {prosody}>Hello.</prosody>"))
    assert isinstance(said, Say)
    assert said.manner.rate == pytest.approx(rate)
    assert said.manner.volume == pytest.approx(volume)


def test_styles_languages_and_substitutes_are_accepted() -> None:
    body = (
        "<mstts:express-as style='cheerful'>Hi <lang xml:lang='it-IT'>ciao</lang></mstts:express-as>"
        "<sub alias='World Wide Web'>WWW</sub><mstts:unknown>!</mstts:unknown>"
    )
    parts = read_ssml(ssml(body))
    assert [part.text for part in parts if isinstance(part, Say)] == ["Hi", "ciao", "World Wide Web!"]
    assert isinstance(parts[1], Say)
    assert (parts[1].manner.locale, parts[1].manner.style) == ("it-IT", "cheerful")


@pytest.mark.parametrize(
    "document",
    [
        "",
        "hello",
        "<speak>",
        "<voice name='x'>Hi</voice>",
        f"<speak {NAMESPACES}>No voice</speak>",
        ssml("<break time='soon'/>"),
        ssml("<prosody rate='quickly'>Hi</prosody>"),
        ssml("Hi", voice=""),
        ssml("x" * 70_000),
        ssml("<p>" * 50 + "</p>" * 50),
        '<!DOCTYPE speak [<!ENTITY a "b">]>' + ssml("&a;"),
        f'<!DOCTYPE speak SYSTEM "file:///etc/passwd">{ssml("Hi")}',
    ],
)
def test_what_cannot_be_spoken_is_refused(document: str) -> None:
    with pytest.raises(SsmlError):
        read_ssml(document)


@given(st.text(alphabet="<>/&;'\"ab =!", max_size=60))
def test_any_document_is_spoken_or_refused(body: str) -> None:
    with suppress(SsmlError):
        read_ssml(ssml(body))


# --- messages ---


def test_a_document_is_one_whole_turn() -> None:
    machine = session()
    assert machine.feed(context(wordBoundaryEnabled=True, sessionEndEnabled=True)) == []
    begin, speak, end = machine.feed(text("ssml", ssml("Hi.")))
    assert isinstance(begin, Begin)
    assert begin.utterance.wanted == Wanted(words=True, session_end=True)
    assert begin.utterance.form == output_format("raw-24khz-16bit-mono-pcm")
    assert isinstance(speak, Speak)
    assert end == End()
    start, response = (decode(message.frame) for message in begin.utterance.opening())
    assert (start.path, response.path) == ("turn.start", "response")
    assert start.request_id == response.request_id == REQUEST
    assert response.json()["audio"] == {"type": "inline", "streamId": begin.utterance.stream_id}
    assert machine.characters == 3


def test_streamed_text_is_spoken_by_sentences() -> None:
    machine = session()
    given = {"bidirectionalStreamingMode": True, "voiceName": "en-US-AvaNeural", "language": "", "rate": "1.5"}
    (begin,) = machine.feed(context(given=given))
    assert isinstance(begin, Begin)
    assert begin.utterance.streamed
    commands = [
        command
        for piece in ("Hello there. How", " are ", "you? Bye")
        for command in machine.feed(text("text.piece", piece))
    ]
    commands += machine.feed(text("text.end", ""))
    said = [part for command in commands if isinstance(command, Speak) for part in command.parts]
    manner = Manner(voice="en-US-AvaNeural", rate=1.5)
    assert said == [Say("Hello there.", manner), Say("How are you?", manner), Say("Bye", manner)]
    assert commands[-1] == End()
    assert machine.feed(text("text.piece", "late")) == []


def test_what_is_not_ssml_or_no_known_format_closes_the_connection() -> None:
    machine = session()
    with pytest.raises(FrameError, match="well-formed"):
        machine.feed(text("ssml", "<speak>"))
    machine.feed(context("audio-16khz-32kbitrate-mono-mp3"))
    with pytest.raises(FrameError, match="Unsupported output format"):
        machine.feed(text("ssml", ssml("Hi.")))


def test_a_long_clause_is_not_waited_for() -> None:
    splitter = PieceSplitter()
    words = " ".join(["word"] * 40)
    phrases = splitter.feed(words)
    assert [len(phrase) >= LONG_CLAUSE - 5 for phrase in phrases] == [True]
    assert " ".join([*phrases, splitter.flush()]) == words


@given(st.lists(st.text(alphabet="ab ,.!?\n", max_size=20)))
def test_streamed_text_loses_nothing(pieces: list[str]) -> None:
    splitter = PieceSplitter()
    phrases = [phrase for piece in pieces for phrase in splitter.feed(piece)]
    phrases.append(splitter.flush())
    assert "".join("".join(phrases).split()) == "".join("".join(pieces).split())


# --- audio ---


@pytest.mark.parametrize(
    ("name", "bytes_per_s", "head"),
    [
        ("raw-8khz-16bit-mono-pcm", 16_000, 0),
        ("raw-16khz-16bit-mono-pcm", 32_000, 0),
        ("raw-22050hz-16bit-mono-pcm", 44_100, 0),
        ("raw-24khz-16bit-mono-pcm", 48_000, 0),
        ("raw-44100hz-16bit-mono-pcm", 88_200, 0),
        ("raw-48khz-16bit-mono-pcm", 96_000, 0),
        ("raw-8khz-8bit-mono-mulaw", 8_000, 0),
        ("raw-8khz-8bit-mono-alaw", 8_000, 0),
        ("riff-16khz-16bit-mono-pcm", 32_000, 44),
    ],
)
def test_a_second_is_a_second_in_every_format(name: str, bytes_per_s: int, head: int) -> None:
    form = output_format(name)
    out = AudioOut(form)
    made = b"".join(out.feed(np.full(2_205, 500, np.int16), 22_050) for _ in range(10)) + out.flush()
    assert form.bytes_per_s == bytes_per_s
    assert len(made) == bytes_per_s + head
    assert made.startswith(b"RIFF") == bool(head)


@pytest.mark.parametrize("name", ["audio-24khz-96kbitrate-mono-mp3", "ogg-24khz-16bit-mono-opus", "raw", ""])
def test_compressed_formats_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedFormat):
        output_format(name)


# --- speaking ---


async def spoken(parts: tuple[Any, ...], wanted: Wanted) -> list[Message]:
    utterance = Utterance(REQUEST, "AB", "tag", output_format("raw-16khz-16bit-mono-pcm"), wanted)
    speaking = Speaking(ScriptedTextToSpeech(ScriptedVoice(16_000, 50, 100)), utterance)
    messages: list[Outgoing] = [message for part in parts async for message in speaking.say(part)]
    return [decode(message.frame) for message in (*messages, *speaking.finish(), utterance.closing())]


async def test_marks_stand_where_their_words_are() -> None:
    everything = Wanted(words=True, punctuation=True, sentences=True, visemes=True, bookmarks=True, session_end=True)
    messages = await spoken((Say("One two."), Mark("m"), Pause(200), Say("Three.")), everything)
    assert messages[-1].path == "turn.end"
    audio = b"".join(message.data for message in messages if message.path == "audio")
    assert len(audio) == 2 * 16 * (8 * 50 + 200 + 6 * 50)
    events = [event for message in messages if message.path == "audio.metadata" for event in message.json()["Metadata"]]
    found: dict[str, list[tuple[int, str]]] = {}
    for event in events:
        data = event["Data"]
        what = data.get("text", {}).get("Text") or data.get("Bookmark") or str(data.get("VisemeId", ""))
        kind = data.get("text", {}).get("BoundaryType") or event["Type"]
        found.setdefault(kind, []).append((data["Offset"] // 10_000, what))
    assert found["WordBoundary"] == [(0, "One"), (200, "two"), (600, "Three")]
    assert [word for _, word in found["PunctuationBoundary"]] == [".", "."]
    assert found["SentenceBoundary"] == [(0, "One two."), (600, "Three.")]
    assert found["Bookmark"] == [(400, "m")]
    assert found["SessionEnd"] == [(900, "")]
    assert found["Viseme"][0] == (0, "8")
    offsets = [at for at, _ in found["Viseme"]]
    assert offsets == sorted(offsets)


async def test_nothing_is_told_that_was_not_asked_for() -> None:
    messages = await spoken((Say("One two."), Mark("m")), Wanted())
    assert {message.path for message in messages} == {"audio", "turn.end"}


async def test_volume_is_applied() -> None:
    loud = await spoken((Say("One."),), Wanted())
    soft = await spoken((Say("One.", Manner(volume=0.5)),), Wanted())
    peak = [max(np.frombuffer(messages[0].data, "<i2")) for messages in (loud, soft)]
    assert peak[1] == pytest.approx(peak[0] / 2, abs=1)


def test_events_are_ordered_and_a_sentence_comes_before_its_words() -> None:
    words = (WordTiming("Hi,", 0, 800), WordTiming("you.", 800, 1_600))
    wanted = Wanted(words=True, punctuation=True, sentences=True, visemes=True)
    events = list(phrase_events("Hi, you.", words, 1_600, 16_000, wanted))
    assert [offset for offset, _, _ in events] == sorted(offset for offset, _, _ in events)
    assert [kind for _, kind, _ in events][:3] == ["SentenceBoundary", "WordBoundary", "Viseme"]
    assert events[0][0] == 1_000_000
