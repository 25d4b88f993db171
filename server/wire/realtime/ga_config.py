"""A session's configuration in OpenAI's GA dialect: nested ``audio``, as ``session.update`` brings it.

Owns the JSON a client reads and writes. Each update is merged into what was, judged as a whole, and yields the
neutral settings. Reference: OpenAI "Realtime client events", ``session.update``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ValidationError

from agents.events import TranscriptUpdated
from audio.formats import AudioFormat, Encoding
from server.wire.realtime.config_parts import (
    choice_of,
    merged,
    require_known,
    specs_of,
    tokens_of,
    without_absent,
)
from server.wire.realtime.dialect import AskedReply
from server.wire.realtime.faults import RealtimeFault, from_validation
from server.wire.realtime.ga_parts import (
    Alaw,
    Input,
    OutputAudio,
    Pcm,
    ReplyParams,
    SemanticVad,
    ServerVad,
    Session,
    Ulaw,
    VoiceId,
)
from server.wire.realtime.settings import Detection, RealtimeSettings, ReplySettings

_SESSION_KINDS = ("realtime", "transcription")
_OURS = frozenset({"id", "object", "expires_at", "model"})
"""Fields of a session that only the server decides; a client that echoes them back means nothing by it."""


class GaConfig:
    """The configuration of one session. Immutable: ``updated`` makes the next one."""

    def __init__(self, raw: dict[str, Any]) -> None:
        """``raw`` is a whole session object. Raises RealtimeFault."""
        self._raw = raw
        try:
            self._session = Session.model_validate(raw)
        except ValidationError as error:
            raise from_validation(error, "session") from error
        self.settings = _settings(self._session)
        require_known(self.settings.reply.tool_choice, self.settings.reply.tools, "session.tool_choice")

    @classmethod
    def opened(cls, model: str, session_id: str, expires_at: int, *, transcription: bool = False) -> GaConfig:
        """What a session is before the client says anything."""
        detection = _DEFAULT_DETECTION if transcription else _DEFAULT_DETECTION | _FLAGS
        heard: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": detection}
        raw: dict[str, Any] = {
            "type": "transcription" if transcription else "realtime",
            "object": "realtime.transcription_session" if transcription else "realtime.session",
            "id": session_id,
            "expires_at": expires_at,
            "audio": {"input": heard},
        }
        if transcription:
            heard["transcription"] = {"model": model}
            return cls(raw)
        raw["audio"]["output"] = {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "default", "speed": 1.0}
        raw |= {
            "model": model,
            "output_modalities": ["audio"],
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
        }
        return cls(raw)

    def updated(self, patch: dict[str, Any]) -> GaConfig:
        """The configuration after ``session.update``. Raises RealtimeFault; nothing has changed then."""
        kind = patch.get("type", self._raw["type"])
        if kind not in _SESSION_KINDS:
            raise RealtimeFault("Invalid 'session.type': expected 'realtime' or 'transcription'.", param="session.type")
        if kind != self._raw["type"]:
            raise RealtimeFault("The type of a session cannot change.", param="session.type")
        given = _without_empty({key: value for key, value in patch.items() if key not in _OURS})
        try:
            Session.model_validate({"type": kind, **given})  # a fault is the client's, not of what was before
        except ValidationError as error:
            raise from_validation(error, "session") from error
        if kind == "transcription":
            _require_hearing_only(given)
        return GaConfig(_completed(merged(self._raw, given)))

    def rendered(self) -> dict[str, Any]:
        """The session object as clients read it."""
        told = without_absent(self._raw)
        output: dict[str, Any] = told.get("audio", {}).get("output", {})
        if "speed" in output:
            output["speed"] = self.settings.reply.speed  # what is spoken, not what was asked for
        if self.settings.detection is None:  # absent, it would read as the default
            told["audio"]["input"]["turn_detection"] = None
        return told

    def transcribed(self, heard: TranscriptUpdated) -> dict[str, Any]:
        """What is told of a finished transcription beside its text: how long it was; a correction costs nothing."""
        length_ms = 0 if heard.corrected else max(0, heard.end_ms - heard.start_ms)
        seconds = round(length_ms / 1_000, 3)
        return {"usage": {"type": "duration", "seconds": seconds}}

    def warnings(self) -> list[tuple[str, str]]:
        """GA clients have no word for it: what is accepted but not available is in the documentation."""
        return []

    def response_fields(self, reply: ReplySettings) -> dict[str, Any]:
        """How one response is made, as ``response.created`` tells it."""
        fields: dict[str, Any] = {
            "output_modalities": ["audio" if reply.audible else "text"],
            "max_output_tokens": reply.max_output_tokens or "inf",
        }
        if reply.audible:
            output = self._raw.get("audio", {}).get("output", {})
            fields["audio"] = {"output": without_absent({"format": output.get("format"), "voice": reply.voice})}
        return fields

    def parse_reply(self, raw: dict[str, Any]) -> tuple[AskedReply, ReplySettings]:
        """What ``response.create`` asks for, and the session's way of replying with it. Raises RealtimeFault."""
        try:
            params = ReplyParams.model_validate(raw)
        except ValidationError as error:
            raise from_validation(error, "response") from error
        asked = AskedReply(params.conversation, params.input, params.metadata)
        reply = self._reply_settings(params)
        require_known(reply.tool_choice, reply.tools, "response.tool_choice")
        return asked, reply

    def _reply_settings(self, params: ReplyParams) -> ReplySettings:
        base = self.settings.reply
        output = params.audio.output if params.audio else None
        audible = base.audible if params.output_modalities is None else params.output_modalities == ("audio",)
        return ReplySettings(
            instructions=base.instructions if params.instructions is None else params.instructions,
            audible=audible,
            voice=_voice(output) or base.voice,
            speed=base.speed if output is None or output.speed is None else output.speed,
            tools=base.tools if params.tools is None else specs_of(params.tools),
            tool_choice=base.tool_choice if params.tool_choice is None else choice_of(params.tool_choice),
            max_output_tokens=base.max_output_tokens
            if params.max_output_tokens is None
            else tokens_of(params.max_output_tokens),
            temperature=base.temperature,
            filler_after_ms=base.filler_after_ms,
        )


_DEFAULT_DETECTION: dict[str, Any] = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300}
_FLAGS: dict[str, Any] = {"create_response": True, "interrupt_response": True}


def _without_empty(patch: dict[str, Any]) -> dict[str, Any]:
    """``null`` for a whole direction of the audio says nothing of what is in it."""
    audio = patch.get("audio")
    if audio is None:
        return {key: value for key, value in patch.items() if key != "audio"}
    if not isinstance(audio, dict):
        return patch
    directions: dict[str, Any] = {name: value for name, value in audio.items() if value is not None}  # pyright: ignore
    return patch | {"audio": directions}


def _completed(raw: dict[str, Any]) -> dict[str, Any]:
    """Turn detection with its flags spelled out: clients read an absent one as false."""
    heard: dict[str, Any] = raw.get("audio", {}).get("input", {})
    detection: dict[str, Any] | None = heard.get("turn_detection")
    if detection and raw["type"] == "realtime":
        given = {key: value for key, value in detection.items() if value is not None}
        heard["turn_detection"] = _FLAGS | given
    return raw


def _require_hearing_only(patch: dict[str, Any]) -> None:
    for name in patch:
        if name not in {"type", "audio", "include"}:
            raise RealtimeFault(
                f"A transcription session takes no '{name}'.", code="unknown_parameter", param=f"session.{name}"
            )
    audio: dict[str, Any] = patch.get("audio") or {}
    if audio.get("output") is not None:
        raise RealtimeFault(
            "A transcription session says nothing.", code="unknown_parameter", param="session.audio.output"
        )


def _settings(session: Session) -> RealtimeSettings:
    heard = (session.audio.input if session.audio else None) or Input()
    said = (session.audio.output if session.audio else None) or OutputAudio()
    spoken = session.output_modalities != ("text",)
    transcription = heard.transcription
    return RealtimeSettings(
        model=session.model or "",
        reply=ReplySettings(
            instructions=session.instructions or None,
            audible=spoken,
            voice=_voice(said),
            speed=max(0.5, said.speed or 1.0),
            tools=specs_of(session.tools),
            tool_choice=choice_of(session.tool_choice),
            max_output_tokens=tokens_of(session.max_output_tokens),
            temperature=session.temperature,
        ),
        detection=_detection(heard.turn_detection),
        input_format=_format(heard.format),
        output_format=_format(said.format),
        language=None if transcription is None else transcription.language,
        phrases=() if transcription is None else transcription.keywords or (),
        transcribes=transcription is not None,
        writes_only=session.type == "transcription",
    )


def _voice(output: OutputAudio | None) -> str | None:
    voice = None if output is None else output.voice
    return voice.id if isinstance(voice, VoiceId) else voice


def _format(given: Pcm | Ulaw | Alaw | None) -> AudioFormat:
    match given:
        case None | Pcm():
            return AudioFormat(Encoding.PCM16, 24_000)
        case Ulaw():
            return AudioFormat(Encoding.G711_ULAW, 8_000)
        case Alaw():
            return AudioFormat(Encoding.G711_ALAW, 8_000)


_EAGERNESS: dict[str | None, Literal["low", "auto", "high"]] = {
    None: "auto",
    "auto": "auto",
    "medium": "auto",
    "low": "low",
    "high": "high",
}


def _detection(given: ServerVad | SemanticVad | None) -> Detection | None:
    match given:
        case None:
            return None
        case ServerVad():
            return Detection(
                threshold=given.threshold,
                prefix_padding_ms=given.prefix_padding_ms,
                silence_ms=given.silence_duration_ms,
                replies=given.create_response is not False,
                interrupts=given.interrupt_response is not False,
                idle_ms=given.idle_timeout_ms,
            )
        case SemanticVad():
            return Detection(
                kind="semantic",
                eagerness=_EAGERNESS[given.eagerness],
                replies=given.create_response is not False,
                interrupts=given.interrupt_response is not False,
            )
