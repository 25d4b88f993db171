"""A session's configuration in Azure Voice Live's dialect: flat, as ``session.update`` brings it.

Owns the JSON a client reads and writes. What an update names replaces what was, whole; ``null`` gives a field back
its default, except that no ``turn_detection`` means that the client ends its turns itself. What is not to be had is
not told as if it were in force: it is left out of the session, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from agents.events import TranscriptUpdated
from audio.formats import AudioFormat, Encoding
from server.wire.realtime.config_parts import choice_of, specs_of, tokens_of, without_absent
from server.wire.realtime.dialect import AskedReply
from server.wire.realtime.faults import RealtimeFault, from_validation
from server.wire.realtime.settings import Detection, RealtimeSettings, ReplySettings
from server.wire.realtime.voice_live_parts import AnyInterim, AnyVad, Reply, Session, StaticInterim
from server.wire.realtime.voice_live_voices import locale_of, name_of, speed_of
from server.wire.realtime.voice_live_warnings import (
    PHRASES,
    Abilities,
    Warned,
    languages_of,
    reply_warnings,
    session_warnings,
)

_Model = TypeVar("_Model", bound=BaseModel)
_OURS: Final = frozenset({"id", "expires_at", "agent", "model"})
"""Fields that only the server decides; a client that sends them back means nothing by it."""
_NOT_HERE: Final = frozenset(
    {"avatar", "input_audio_noise_reduction", "input_audio_echo_cancellation", "reasoning_effort"}
)
"""Settings that never come into force."""
VISEMES: Final = "viseme_id"
"""The animation that is to be had, where the voice tells its mouth shapes."""
_TELEPHONE_RATE_HZ: Final = 8_000
_PCM_RATE_HZ: Final = 24_000
_FLAGS: Final = {"create_response": True, "interrupt_response": True, "auto_truncate": True}
_DEFAULTS: Final[Mapping[str, Any]] = {
    "modalities": ["text", "audio"],
    "voice": "default",
    "input_audio_format": "pcm16",
    "input_audio_sampling_rate": _PCM_RATE_HZ,
    "output_audio_format": "pcm16",
    "turn_detection": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, **_FLAGS},
    "output_audio_timestamp_types": [],
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "max_response_output_tokens": "inf",
    "include": [],
}


class VoiceLiveConfig:
    """The configuration of one session. Immutable: ``updated`` makes the next one."""

    def __init__(self, raw: dict[str, Any], abilities: Abilities, warned: list[Warned]) -> None:
        """``raw`` is a whole session as it is in force. Raises RealtimeFault."""
        self._raw = raw
        self._abilities = abilities
        self._warned = warned
        self._session = session = _validated(Session, raw, "session")
        self._phrases = PHRASES in (session.include or ())
        self.settings = _settings(session, abilities)

    @classmethod
    def opened(
        cls,
        model: str,
        session_id: str,
        expires_at: int,
        abilities: Abilities | None = None,
        *,
        agent: Mapping[str, Any] | None = None,
        warned: tuple[Warned, ...] = (),
    ) -> VoiceLiveConfig:
        """What a session is before the client says anything; ``agent`` is told to who asked for one by name."""
        abilities = abilities or Abilities()
        raw: dict[str, Any] = {"id": session_id, "model": model, "expires_at": expires_at, **_DEFAULTS}
        if abilities.voices:
            raw["voice"] = abilities.voices[0]
        if agent is not None:
            raw["agent"] = dict(agent)
        return cls(raw, abilities, list(warned))

    def updated(self, patch: dict[str, Any]) -> VoiceLiveConfig:
        """The configuration after ``session.update``. Raises RealtimeFault; nothing has changed then."""
        _require_no_servers(patch.get("tools"), "session")
        asked = _validated(Session, patch, "session")  # a fault is the client's, not of what was before
        raw = _with_rate(self._raw, patch) | self._in_force({k: v for k, v in patch.items() if k not in _OURS})
        return VoiceLiveConfig(raw, self._abilities, session_warnings(asked, self.settings.model, self._abilities))

    def _in_force(self, given: dict[str, Any]) -> dict[str, Any]:
        """What of these fields comes into force, and how."""
        taken = {name: value for name, value in given.items() if name not in _NOT_HERE}
        for name, value in taken.items():
            if value is None and name != "turn_detection":
                taken[name] = _DEFAULTS.get(name)
        taken.pop("parallel_tool_calls", None)
        if given.get("input_audio_sampling_rate") is None:
            taken.pop("input_audio_sampling_rate", None)  # follows the format
        if "voice" in given and given["voice"] is None and self._abilities.voices:
            taken["voice"] = self._abilities.voices[0]
        if taken.get("modalities"):
            taken["modalities"] = [one for one in taken["modalities"] if one in {"text", "audio"}]
        if "animation" in taken:
            taken["animation"] = {"outputs": [VISEMES]} if self._shows(taken["animation"]) else None
        if taken.get("include"):
            taken["include"] = [one for one in taken["include"] if one == PHRASES]
        if taken.get("output_audio_format"):
            taken["output_audio_format"] = taken["output_audio_format"].replace("-", "_")
        if taken.get("turn_detection"):
            taken["turn_detection"] = _completed(taken["turn_detection"])
        return taken

    def _shows(self, animation: dict[str, Any] | None) -> bool:
        return self._abilities.visemes and animation is not None and VISEMES in (animation.get("outputs") or ())

    def rendered(self) -> dict[str, Any]:
        """The session object as clients read it: what is in force."""
        return {"turn_detection": None, **without_absent(self._raw)}

    def warnings(self) -> list[Warned]:
        """What the last update asked for and did not get: parameter and sentence."""
        return self._warned

    def transcribed(self, heard: TranscriptUpdated) -> dict[str, Any]:
        """What is told of a transcription beside its text."""
        if not self._phrases:
            return {}
        phrase: dict[str, Any] = {
            "text": heard.text,
            "offset_milliseconds": heard.start_ms,
            "duration_milliseconds": max(0, heard.end_ms - heard.start_ms),
            "locale": heard.language,
            "confidence": heard.confidence,
        }
        return {"phrases": [without_absent(phrase)]}

    def response_fields(self, reply: ReplySettings) -> dict[str, Any]:
        """How one response is made, as ``response.created`` tells it."""
        same_voice = reply.voice == self.settings.reply.voice
        fields: dict[str, Any] = {
            "modalities": ["text", "audio"] if reply.audible else ["text"],
            "voice": (self._raw.get("voice") if same_voice else reply.voice) if reply.audible else None,
            "output_audio_format": self._raw.get("output_audio_format") if reply.audible else None,
            "temperature": reply.temperature,
            "max_output_tokens": reply.max_output_tokens or "inf",
        }
        return without_absent(fields)

    def parse_reply(self, raw: dict[str, Any]) -> tuple[AskedReply, ReplySettings]:
        """What ``response.create`` asks for, and the session's way of replying with it. Raises RealtimeFault."""
        _require_no_servers(raw.get("tools"), "response")
        asked = _validated(Reply, raw, "response")
        if asked.output_audio_format not in {None, self._session.output_audio_format}:
            raise RealtimeFault(
                "A response has the session's audio format; change that with 'session.update'.",
                param="response.output_audio_format",
            )
        params = AskedReply(
            conversation="none" if asked.commit is False else "auto",
            input=asked.input_items,
            metadata=asked.metadata,
            cancels_previous=asked.cancel_previous is not False,
            warnings=tuple(reply_warnings(asked, self._abilities)),
        )
        return params, self._reply_settings(asked)

    def _reply_settings(self, asked: Reply) -> ReplySettings:
        base = self.settings.reply
        changed: dict[str, Any] = {
            "instructions": _instructions(base.instructions, asked),
            "audible": None if asked.modalities is None else "audio" in asked.modalities,
            "voice": name_of(asked.voice),
            "speed": None if asked.voice is None else speed_of(asked.voice),
            "tools": None if asked.tools is None else specs_of(asked.tools),
            "tool_choice": None if asked.tool_choice is None else choice_of(asked.tool_choice),
            "temperature": asked.temperature,
        }
        reply = replace(base, **without_none(changed))
        if asked.max_output_tokens is not None:
            reply = replace(reply, max_output_tokens=tokens_of(asked.max_output_tokens))
        return reply


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    """The values that are there."""
    return {name: value for name, value in values.items() if value is not None}


def _instructions(base: str | None, asked: Reply) -> str | None:
    own = base if asked.instructions is None else asked.instructions
    if not asked.additional_instructions:
        return own
    return f"{own}\n\n{asked.additional_instructions}" if own else asked.additional_instructions


def _validated(model: type[_Model], raw: dict[str, Any], prefix: str) -> _Model:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise from_validation(error, prefix) from error


def _require_no_servers(tools: Any, prefix: str) -> None:
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):  # pyright: ignore
        if isinstance(tool, dict) and tool.get("type") == "mcp":  # pyright: ignore
            raise RealtimeFault(
                "MCP servers cannot be used here; give the model functions, and run them yourself.",
                code="not_available",
                param=f"{prefix}.tools[{index}]",
            )


def _completed(detection: dict[str, Any]) -> dict[str, Any] | None:
    """Turn detection with its flags spelled out: clients read an absent one as false."""
    if detection.get("type") == "none":
        return None
    given = {name: value for name, value in detection.items() if value is not None}
    return {**_FLAGS, **given, "auto_truncate": True}


def _with_rate(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The session with the sampling rate that belongs to a new input format. Raises RealtimeFault."""
    form = patch.get("input_audio_format", before["input_audio_format"]) or "pcm16"
    telephone = form != "pcm16"
    rate = patch.get("input_audio_sampling_rate")
    if telephone and rate not in {None, _TELEPHONE_RATE_HZ}:
        raise RealtimeFault(f"{form} is sampled at 8000 Hz.", param="session.input_audio_sampling_rate")
    if rate is not None or form == before["input_audio_format"]:
        return before
    return before | {"input_audio_sampling_rate": _TELEPHONE_RATE_HZ if telephone else _PCM_RATE_HZ}


# --- what it means ---


def _settings(session: Session, abilities: Abilities) -> RealtimeSettings:
    transcription = session.input_audio_transcription
    interim = session.interim_response
    return RealtimeSettings(
        model=session.model or "",
        reply=ReplySettings(
            instructions=session.instructions or None,
            audible="audio" in (session.modalities or ("audio",)),
            voice=name_of(session.voice),
            speed=speed_of(session.voice),
            tools=specs_of(session.tools),
            tool_choice=choice_of(session.tool_choice),
            max_output_tokens=tokens_of(session.max_response_output_tokens),
            temperature=session.temperature,
            filler_after_ms=_filler_after_ms(interim),
            filler_texts=interim.texts or () if isinstance(interim, StaticInterim) else (),
            word_times=bool(session.output_audio_timestamp_types),
            visemes=session.animation is not None and VISEMES in (session.animation.outputs or ()),
        ),
        detection=_detection(session.turn_detection),
        input_format=_input_format(session),
        output_format=_output_format(session),
        language=_language(session, abilities),
        phrases=() if transcription is None else transcription.phrase_list or (),
        transcribes=transcription is not None,
    )


def _filler_after_ms(interim: AnyInterim | None) -> int | None:
    if interim is None or "latency" not in (interim.triggers or ("latency",)):
        return None
    return interim.latency_threshold_ms


def _language(session: Session, abilities: Abilities) -> str | None:
    """The first language asked for that can be recognised: the transcription's, the voice's, the turns'."""
    transcription = session.input_audio_transcription
    wanted = [] if transcription is None else languages_of(transcription)
    spoken = locale_of(session.voice)
    wanted += [] if spoken is None else [spoken]
    wanted += getattr(session.turn_detection, "languages", None) or ()
    return next((language for language in wanted if abilities.recognises(language)), None)


def _input_format(session: Session) -> AudioFormat:
    match session.input_audio_format:
        case "g711_ulaw":
            return AudioFormat(Encoding.G711_ULAW, _TELEPHONE_RATE_HZ)
        case "g711_alaw":
            return AudioFormat(Encoding.G711_ALAW, _TELEPHONE_RATE_HZ)
        case _:
            return AudioFormat(Encoding.PCM16, session.input_audio_sampling_rate or _PCM_RATE_HZ)


_OUTPUT: Final = {
    "pcm16": AudioFormat(Encoding.PCM16, _PCM_RATE_HZ),
    "pcm16_16000hz": AudioFormat(Encoding.PCM16, 16_000),
    "pcm16_8000hz": AudioFormat(Encoding.PCM16, 8_000),
    "g711_ulaw": AudioFormat(Encoding.G711_ULAW, _TELEPHONE_RATE_HZ),
    "g711_alaw": AudioFormat(Encoding.G711_ALAW, _TELEPHONE_RATE_HZ),
}


def _output_format(session: Session) -> AudioFormat:
    return _OUTPUT[session.output_audio_format or "pcm16"]


_EAGERNESS: Final[dict[str | None, Literal["low", "auto", "high"]]] = {
    None: "auto",
    "default": "auto",
    "medium": "auto",
    "low": "high",
    "high": "low",
}
"""By how much certainty is asked for that the user has finished: little of it makes for quick answers."""


def _detection(given: AnyVad | None) -> Detection | None:
    if given is None:
        return None
    end = given.end_of_utterance_detection
    semantic = given.type != "server_vad" or end is not None
    return Detection(
        kind="semantic" if semantic else "silence",
        threshold=given.threshold,
        prefix_padding_ms=given.prefix_padding_ms,
        silence_ms=given.silence_duration_ms,
        max_wait_ms=None if end is None else end.timeout_ms,
        min_speech_ms=getattr(given, "speech_duration_ms", None),
        eagerness=_EAGERNESS[None if end is None else end.threshold_level],
        replies=given.create_response is not False,
        interrupts=given.interrupt_response is not False,
    )
