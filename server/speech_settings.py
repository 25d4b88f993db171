"""The settings about hearing and speaking: which engines, in which order, and for whom. See ``server.settings``.

``server.engine_rules`` reads them; they know no engine.
"""

from __future__ import annotations

import re
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from server.azure_settings import VOICE_PATTERN
from server.setting_types import Directory, Section, Words

Fallback = Literal["embedded", "none"]
"""Who steps in where Azure Speech does not answer."""
SttEngine = Literal["azure", "whisper", "none"]
TtsEngine = Literal["azure", "piper", "none"]

AGENT_ID: Final = "default"
"""The one agent there is, as ``GET /v1/agents`` names it."""
_RANGE: Final = re.compile(r"\*|[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")


class SttSettings(Section):
    """Speech-to-text. ``auto`` takes the embedded engine where it is installed."""

    engine: Literal["auto", "whisper", "azure", "none"] = "auto"
    fallback: Fallback = "embedded"
    model_path: Directory | None = None

    @property
    def order(self) -> tuple[SttEngine, ...]:
        """The engines in order of preference, where no rule says otherwise."""
        if self.engine == "azure":
            return ("azure", "whisper") if self.fallback == "embedded" else ("azure",)
        return ("none",) if self.engine == "none" else ("whisper",)


class TtsSettings(Section):
    """Text-to-speech. ``voice_path`` is a Piper voice (``.onnx`` with its ``.onnx.json`` beside it)."""

    engine: Literal["auto", "piper", "azure", "none"] = "auto"
    fallback: Fallback = "embedded"
    voice_path: Directory | None = None

    @property
    def order(self) -> tuple[TtsEngine, ...]:
        """The engines in order of preference, where no rule says otherwise."""
        if self.engine == "azure":
            return ("azure", "piper") if self.fallback == "embedded" else ("azure",)
        return ("none",) if self.engine == "none" else ("piper",)


class SpeechSettings(Section):
    """How turns are heard by default; a session may change its own."""

    silero: bool = True
    smart_turn: bool = True


class EngineRule(Section):
    """Who hears and speaks, where ``tenant``, ``agent`` and ``locale`` match (what is not said always does).

    ``locale`` is a language range (RFC 4647, basic filtering): ``de`` means German of any region, ``de-CH`` that of
    Switzerland only. ``stt`` and ``tts`` are engines in order of preference. ``languages`` and ``voice`` are
    Azure's, in place of those of the account.
    """

    tenant: str | None = None
    agent: str | None = None
    locale: str | None = None
    stt: tuple[SttEngine, ...] = ()
    tts: tuple[TtsEngine, ...] = ()
    languages: Words = ()
    voice: str | None = Field(default=None, pattern=VOICE_PATTERN)

    @field_validator("stt", "tts")
    @classmethod
    def _is_an_order(cls, order: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(order)) < len(order):
            raise ValueError("every engine may be named once")
        if "none" in order and len(order) > 1:
            raise ValueError("none stands alone")
        return order

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.stt or self.tts or self.languages or self.voice):
            raise ValueError("an engine rule must say stt, tts, languages or voice")
        if self.locale is not None and not _RANGE.fullmatch(self.locale):
            raise ValueError(f"{self.locale!r} is not a language range such as de or de-CH")
        if self.languages and not 2 <= len(self.languages) <= 10:
            raise ValueError("languages must name two to ten locales")
        return self
