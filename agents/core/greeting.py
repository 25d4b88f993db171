"""What a session tells its client first: who answers, and what is not to be had. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agents.core.options import Engines, SessionOptions
from agents.events import Degraded, ServerEvent, SessionStarted
from agents.models.port import ModelProfile
from audio.stt.port import SttProfile
from audio.tts.port import TtsProfile


def greeting_events(engines: Engines, options: SessionOptions, lost: Degraded | None) -> Iterator[ServerEvent]:
    """The events, in order. ``lost`` is what recognition has come to, where it could not be opened."""
    stt, tts, agent = engines.stt, engines.tts, engines.agent
    capabilities = dict(engines.names) if options.listen else {}
    if stt is not None and options.listen and lost is None:
        capabilities["stt"] = _name(stt.profile)
    capabilities["llm"] = _name(agent.profile)
    if tts is not None and options.speak:
        capabilities["tts"] = _name(tts.profile)
    yield SessionStarted(options.identity.session_id, agent.spec.agent_id, capabilities)
    if lost is not None:
        yield lost
    if tts is not None and options.speak and options.voice not in (None, *tts.profile.voices):
        yield Degraded(f"voice {options.voice}", "default voice", "There is no voice of that name here.")
    if tts is None and options.speak:
        why = engines.missing.get("tts", "There is no voice here; answers come as text.")
        yield Degraded("speech", "text", why)


def _name(engine: SttProfile | TtsProfile | ModelProfile) -> str:
    """An engine in words; one without variants has no second name."""
    return engine.model if engine.model == engine.provider else f"{engine.provider} {engine.model}"
