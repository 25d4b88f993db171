"""Azure Speech synthesis on one connection, as a pure state machine: no sockets, no engine, no clock.

``feed`` takes what the client sent and says what to do; the ``Utterance`` it hands out makes the messages of one turn.
A turn is a request id: ``synthesis.context`` says what is wanted, then comes either one ``ssml``, or ``text.piece``
after ``text.piece`` until ``text.end``. Turns of a connection follow one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from server.azure_emulator.audio_out import DEFAULT_FORMAT, OutputFormat, UnsupportedFormat, output_format
from server.azure_emulator.faults import Outgoing
from server.azure_emulator.frames import FrameError, Message, decode, encode_audio, encode_text
from server.azure_emulator.ssml import Manner, Part, Say, SsmlError, prosody, read_ssml
from server.azure_emulator.tts_pieces import PieceSplitter


@dataclass(frozen=True, slots=True)
class Wanted:
    """What metadata a client asked for, by the flags of its ``metadataOptions``."""

    words: bool = False
    punctuation: bool = False
    sentences: bool = False
    visemes: bool = False
    bookmarks: bool = False
    session_end: bool = False


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn of synthesis: what is wanted, and the messages it may send."""

    request_id: str
    stream_id: str
    tag: str
    form: OutputFormat
    wanted: Wanted
    streamed: bool = False
    manner: Manner = field(default_factory=Manner)

    def opening(self) -> tuple[Outgoing, ...]:
        """Before any audio."""
        start = {"context": {"serviceTag": self.tag}}
        response = {
            "context": {"serviceTag": self.tag},
            "audio": {"type": "inline", "streamId": self.stream_id},
        }
        return (
            Outgoing("turn_start", encode_text("turn.start", self.request_id, start)),
            Outgoing("response", encode_text("response", self.request_id, response)),
        )

    def audio(self, payload: bytes) -> Outgoing:
        """A stretch of audio."""
        sounds_ms = len(payload) * 1_000 / self.form.bytes_per_s
        return Outgoing("audio", encode_audio(self.request_id, self.stream_id, payload), sounds_ms)

    def metadata(self, kind: str, data: Mapping[str, Any]) -> Outgoing:
        """One event: WordBoundary, SentenceBoundary, Viseme, Bookmark, SessionEnd."""
        body = {"Metadata": [{"Type": kind, "Data": dict(data)}]}
        return Outgoing("metadata", encode_text("audio.metadata", self.request_id, body))

    def closing(self) -> Outgoing:
        """After everything."""
        return Outgoing("turn_end", encode_text("turn.end", self.request_id, {}))


@dataclass(frozen=True, slots=True)
class Begin:
    """A turn begins; its parts follow."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Speak:
    """The next parts of the turn."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class End:
    """The turn has no further parts."""


TtsCommand = Begin | Speak | End


class TtsSession:
    """One connection's synthesis. ``new_id`` makes 32 hexadecimal digits."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._contexts: dict[str, dict[str, Any]] = {}
        self._open: tuple[Utterance, PieceSplitter] | None = None
        self.config: dict[str, Any] = {}
        self.context: dict[str, Any] = {}
        self.characters = 0

    def feed(self, frame: str | bytes) -> list[TtsCommand]:
        """What a received WebSocket message leads to. Raises FrameError: close with 1007 and its words."""
        message = decode(frame)
        match message.path:
            case "speech.config":
                self.config = message.json()
            case "synthesis.context":
                return self._context(message)
            case "ssml":
                return self._ssml(message)
            case "text.piece":
                return self._piece(message)
            case "text.end":
                return self._text_end(message)
            case _:
                pass
        return []

    def _context(self, message: Message) -> list[TtsCommand]:
        self.context = message.json()
        synthesis = _object(self.context, "synthesis")
        given = _object(synthesis, "input")
        if not given.get("bidirectionalStreamingMode"):
            self._contexts = {message.request_id: synthesis}  # the last one counts
            return []
        utterance = self._utterance(message.request_id, synthesis, _streamed_manner(given))
        self._open = (utterance, PieceSplitter())
        return [Begin(utterance)]

    def _ssml(self, message: Message) -> list[TtsCommand]:
        utterance = self._utterance(message.request_id, self._contexts.pop(message.request_id, {}), None)
        try:
            parts = read_ssml(message.text)
        except SsmlError as error:
            raise FrameError(str(error)) from error
        self.characters += sum(len(part.text) for part in parts if isinstance(part, Say))
        return [Begin(utterance), Speak(parts), End()]

    def _piece(self, message: Message) -> list[TtsCommand]:
        if self._open is None or self._open[0].request_id != message.request_id:
            return []
        utterance, splitter = self._open
        self.characters += len(message.text)
        phrases = splitter.feed(message.text)
        return [Speak(tuple(Say(phrase, utterance.manner) for phrase in phrases))] if phrases else []

    def _text_end(self, message: Message) -> list[TtsCommand]:
        if self._open is None or self._open[0].request_id != message.request_id:
            return []
        utterance, splitter = self._open
        self._open = None
        rest = splitter.flush()
        return [*([Speak((Say(rest, utterance.manner),))] if rest else []), End()]

    def _utterance(self, request_id: str, synthesis: Mapping[str, Any], manner: Manner | None) -> Utterance:
        audio = _object(synthesis, "audio")
        options = _object(audio, "metadataOptions")
        try:
            form = output_format(str(audio.get("outputFormat") or DEFAULT_FORMAT))
        except UnsupportedFormat as error:
            raise FrameError(str(error)) from error
        wanted = Wanted(
            words=bool(options.get("wordBoundaryEnabled")),
            punctuation=bool(options.get("punctuationBoundaryEnabled")),
            sentences=bool(options.get("sentenceBoundaryEnabled")),
            visemes=bool(options.get("visemeEnabled")),
            bookmarks=bool(options.get("bookmarkEnabled")),
            session_end=bool(options.get("sessionEndEnabled")),
        )
        return Utterance(
            request_id,
            self._new_id().upper(),
            self._new_id(),
            form,
            wanted,
            streamed=manner is not None,
            manner=manner or Manner(),
        )


def _streamed_manner(given: Mapping[str, Any]) -> Manner:
    said = {name: str(given[name]) for name in ("rate", "volume", "pitch") if given.get(name)}
    manner = Manner(voice=str(given.get("voiceName") or ""), locale=str(given.get("language") or "en-US"))
    try:
        return prosody(manner, said)
    except SsmlError as error:
        raise FrameError(str(error)) from error


def _object(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value: Any = parent.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
