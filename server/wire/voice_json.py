"""The codec of ``/v1/voice/ws`` and ``/v1/ws``: frames in, client events out; server events in, frames out.

I/O-free: no clock, no socket, no concurrency, no audio engine. Driven by one transport per connection, in frame
order; after ``session.resume`` the resumed session's codec takes over on the new connection. It remembers three
things: what was agreed, where outbound binary audio stands, and how many faulty frames came in a row.

The contract is ``docs/contracts/voice-socket.md``; the pydantic models in ``server.contracts`` judge everything but
``voice.chunk``, which msgspec parses in one pass.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Union, assert_never, cast

import msgspec
from pydantic import ValidationError

from audio.formats import AudioFormat
from server.contracts.client_messages import (
    AnyClientMessage,
    BudgetConsentMessage,
    ChatCancelMessage,
    ChatStartMessage,
    SessionResumeMessage,
    VoiceCancelMessage,
    VoiceChunkMessage,
    VoiceCommitMessage,
    VoicePlayedMessage,
    VoiceStartMessage,
    VoiceStopMessage,
    VoiceUpdateMessage,
)
from server.contracts.errors import ErrorCode
from server.contracts.latency_budget import LatencyBudgetName
from server.contracts.session import VoiceSettings
from server.contracts.voice import CLIENT_MESSAGES, type_of
from server.wire.client_events import (
    AudioIn,
    Cancel,
    ChatCancel,
    ChatStart,
    ClientEvent,
    Commit,
    Consent,
    Played,
    Resume,
    Stop,
    Update,
    VoiceStart,
)
from server.wire.errors import WireError
from server.wire.faults import explain, invalid_message, no_voice, too_large
from server.wire.values import EncodedAudio, without_surrogates
from server.wire.voice_messages import JsonEvent, message_of

Frame = str | bytes
"""A WebSocket message: text or binary."""

_MODELS: Final[Mapping[str, type[AnyClientMessage]]] = {
    type_of(model): cast("type[AnyClientMessage]", model) for model in CLIENT_MESSAGES
}
_OPENING: Final = frozenset({"voice.start", "session.resume"})
_CHANGEABLE: Final = frozenset({"turn_detection", "output", "accessibility", "latency_budget"})
_OPTIONAL: Final = frozenset({"latency_budget"})
"""Of those, what a session may be without."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """How much one client may send at once. Sizes in bytes of one frame.

    ``max_audio_bytes`` bounds binary frames and ``voice.chunk``, ``max_text_bytes`` every other message;
    ``max_faults`` faulty frames in a row end the connection.
    """

    max_audio_bytes: int = 256 * 1024
    max_text_bytes: int = 64 * 1024
    max_faults: int = 20


class _Chunk(msgspec.Struct, tag_field="type", tag="voice.chunk"):
    bytes_base64: bytes


def _head(name: str) -> type[msgspec.Struct]:
    return msgspec.defstruct("_Head", [], tag_field="type", tag=name)


_KINDS: Final[Mapping[type[msgspec.Struct], str]] = {_head(name): name for name in _MODELS if name != "voice.chunk"}
_DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Union[(_Chunk, *_KINDS)])


_AUDIO_START: Final = '{"type":"voice.audio",'


def is_audio(frame: Frame) -> bool:
    """Whether an outgoing frame carries the agent's audio, bare or as ``voice.audio``."""
    return isinstance(frame, bytes) or frame.startswith(_AUDIO_START)


class VoiceCodec:
    """One client's side of the contract.

    Args:
        request_id: names whatever happens outside a turn, until ``voice.start`` brings the client's own.
        limits: what one frame may weigh.
        voice: true on the voice socket; false on the chat socket, which takes no ``voice.*`` messages.
    """

    def __init__(self, request_id: str, *, limits: WireLimits | None = None, voice: bool = True) -> None:
        self._request_id = request_id
        self._limits = limits or WireLimits()
        self._voice = voice
        self._settings: VoiceSettings | None = None
        self.latency_budget: LatencyBudgetName | None = None
        """What ``session.started`` tells of the session's budget."""
        self._begun = False
        self._faults = 0
        self._audio_turn: str | None = None
        self._audio_end_ms = 0

    @property
    def request_id(self) -> str:
        """Names what happens outside a turn."""
        return self._request_id

    @property
    def settings(self) -> VoiceSettings | None:
        """What was negotiated: ``voice.start`` with every ``voice.update`` merged in."""
        return self._settings

    @property
    def binary(self) -> bool:
        """Whether audio travels as bare binary frames."""
        return self._settings is not None and self._settings.binary

    def take_back(self, update: Update) -> None:
        """A change that the server does not permit: what was negotiated before holds."""
        self._settings = update.before

    # --- inbound -------------------------------------------------------------------------------------------------

    def feed(self, frame: Frame) -> ClientEvent:
        """What one WebSocket message asks for.

        Raises:
            WireError: the frame cannot be taken. Unless ``fatal``, the codec is as before and the next frame counts.
        """
        try:
            event = self._text(frame) if isinstance(frame, str) else self._binary(frame)
        except WireError as error:
            self._faults += 1
            if self._faults >= self._limits.max_faults and not error.fatal:
                raise WireError(error.code, error.message, fatal=True, field=error.field) from error
            raise
        self._faults = 0
        return event

    def _binary(self, frame: bytes) -> ClientEvent:
        if not self.binary:
            raise WireError(
                ErrorCode.REQUEST_INVALID,
                'Binary frames carry audio only after voice.start with "binary": true.',
            )
        if len(frame) > self._limits.max_audio_bytes:
            raise too_large(len(frame), self._limits.max_audio_bytes)
        return AudioIn(frame)

    def _text(self, frame: str) -> ClientEvent:
        size = len(frame) if frame.isascii() else len(frame.encode("utf-8", "surrogatepass"))
        if size > self._limits.max_audio_bytes:
            raise too_large(size, self._limits.max_audio_bytes)
        try:
            head = _DECODER.decode(frame)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise explain(frame) from error
        if type(head) is _Chunk:
            self._require_voice("voice.chunk")
            return AudioIn(head.bytes_base64)
        if size > self._limits.max_text_bytes:
            raise too_large(size, self._limits.max_text_bytes)
        kind = _KINDS[type(head)]
        self._require_order(kind)
        try:
            message = _MODELS[kind].model_validate_json(frame)
        except ValidationError as error:
            raise invalid_message(kind, error) from error
        return self._event(message)

    def _require_order(self, kind: str) -> None:
        if kind in _OPENING:
            if self._begun:
                raise WireError(ErrorCode.REQUEST_INVALID, f"{kind} must be the first message; the session has begun.")
            if kind == "voice.start" and not self._voice:
                raise no_voice(kind)
        elif self._voice or kind.startswith("voice."):
            self._require_voice(kind)

    def _require_voice(self, kind: str) -> None:
        if not self._voice:
            raise no_voice(kind)
        if self._settings is None:
            raise WireError(ErrorCode.REQUEST_INVALID, f"{kind} came before voice.start, which begins the session.")

    def _event(self, message: AnyClientMessage) -> ClientEvent:
        match message:
            case VoiceStartMessage():
                return self._start(message)
            case VoiceUpdateMessage():
                return self._update(message)
            case ChatStartMessage():
                self._begun = True
                return _chat_start(message)
            case SessionResumeMessage():
                return Resume(message.session_id, message.last_event_id)
            case _:
                return _plain_event(message)

    def _start(self, message: VoiceStartMessage) -> VoiceStart:
        settings = VoiceSettings.model_validate(message.model_dump(include=set(VoiceSettings.model_fields)))
        self._settings = settings
        self._begun = True
        self._request_id = message.request_id or self._request_id
        return VoiceStart(settings, message.request_id)

    def _update(self, message: VoiceUpdateMessage) -> Update:
        assert self._settings is not None, "voice.update is refused before voice.start"
        before = self._settings
        changes = message.model_dump(exclude_unset=True, include=set(_CHANGEABLE))
        given = {part: fields for part, fields in changes.items() if fields is not None or part in _OPTIONAL}
        try:
            self._settings = VoiceSettings.model_validate(_merged(before.model_dump(), given))
        except ValidationError as error:
            raise invalid_message("voice.update", error) from error
        return Update(self._settings, before)

    # --- outbound ------------------------------------------------------------------------------------------------

    def encode(self, event: JsonEvent, event_id: int, timestamp_ms: int) -> str:
        """The text frame of an event. ``timestamp_ms`` is epoch time, for people to read."""
        kind, turn_id, fields = message_of(event)
        if kind == "session.started" and self._settings is not None:
            fields = {**fields, **_formats(self._settings)}
        if kind == "session.started" and self.latency_budget is not None:
            fields = {**fields, "latency_budget": self.latency_budget.model_dump()}
        return self._frame(kind, turn_id, event_id, timestamp_ms, fields)

    def encode_audio(self, audio: EncodedAudio, event_id: int, timestamp_ms: int) -> tuple[Frame, ...]:
        """The frames of a stretch of speech, numbered from ``event_id`` on: the next event's id is
        ``event_id + len(frames)``.

        Base64 mode: one ``voice.audio``. Binary mode: the payload alone, after a ``voice.audio`` without
        ``bytes_base64`` where the turn is another or the position jumps.
        """
        if not self.binary:
            fields = {"audio_ms": audio.audio_ms, "start_ms": audio.start_ms, "bytes_base64": audio.payload}
            return (self._frame("voice.audio", audio.turn_id, event_id, timestamp_ms, fields),)
        # Whole milliseconds of consecutive stretches may be one apart.
        follows = audio.turn_id == self._audio_turn and abs(audio.start_ms - self._audio_end_ms) <= 1
        self._audio_turn, self._audio_end_ms = audio.turn_id, audio.start_ms + audio.audio_ms
        if follows:
            return (audio.payload,)
        fields = {"audio_ms": 0, "start_ms": audio.start_ms}
        return (self._frame("voice.audio", audio.turn_id, event_id, timestamp_ms, fields), audio.payload)

    def encode_resumed(self, session_id: str, missed_events: int, position: int, timestamp_ms: int) -> str:
        """``session.resumed``, to be sent before the kept events are replayed.

        ``position`` is the id of the event before the first one that follows; the message takes no id of its own.
        New binary audio is announced afresh.
        """
        self._audio_turn = None
        fields = {"session_id": session_id, "missed_events": missed_events}
        return self._frame("session.resumed", None, position, timestamp_ms, fields)

    def _frame(
        self, kind: str, turn_id: str | None, event_id: int, timestamp_ms: int, fields: Mapping[str, object]
    ) -> str:
        body = {
            "type": kind,
            "event_id": event_id,
            "request_id": turn_id or self._request_id,
            "timestamp_ms": timestamp_ms,
            **fields,
        }
        try:
            return msgspec.json.encode(body, enc_hook=_plain).decode()
        except UnicodeEncodeError:
            return msgspec.json.encode(without_surrogates(body), enc_hook=_plain).decode()


_PlainMessage = (
    VoiceChunkMessage
    | VoiceCommitMessage
    | VoiceCancelMessage
    | VoicePlayedMessage
    | VoiceStopMessage
    | ChatCancelMessage
    | BudgetConsentMessage
)


def _plain_event(message: _PlainMessage) -> ClientEvent:
    match message:
        case VoiceChunkMessage():
            return AudioIn(b64decode(message.bytes_base64))
        case VoiceCommitMessage():
            return Commit()
        case VoiceCancelMessage(request_id=turn_id):
            return Cancel(turn_id)
        case VoicePlayedMessage(request_id=turn_id, audio_ms=audio_ms):
            return Played(audio_ms, turn_id)
        case VoiceStopMessage():
            return Stop()
        case ChatCancelMessage(request_id=turn_id):
            return ChatCancel(turn_id)
        case BudgetConsentMessage(consent=given):
            return Consent(given)
        case _:
            assert_never(message)


def _chat_start(message: ChatStartMessage) -> ChatStart:
    return ChatStart(
        message.prompt,
        message.request_id,
        message.agent_id,
        message.mode,
        message.model_hint,
        message.latency_budget,
    )


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What was, and over it what is said now: at every depth, what is not said stays."""
    merged = dict(old)
    for name, value in new.items():
        was = old.get(name)
        nested = isinstance(was, dict) and isinstance(value, dict)
        merged[name] = _merged(cast("dict[str, Any]", was), cast("dict[str, Any]", value)) if nested else value
    return merged


def _formats(settings: VoiceSettings) -> dict[str, object]:
    return {
        "input": _format(settings.input_format),
        "output": _format(settings.output.format),
        "binary": settings.binary,
    }


def _format(audio: AudioFormat) -> dict[str, object]:
    return {"codec": audio.encoding.value, "sample_rate": audio.sample_rate_hz}


def _plain(value: object) -> object:
    """What msgspec cannot write by itself: mappings that are no dict, and values of tools and providers."""
    return dict(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else str(value)
