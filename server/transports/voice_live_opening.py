"""How a session in Azure Voice Live's dialect begins: from the query of its connection, and what this server can do.

Driven by ``server.transports.realtime_socket``.
"""

from __future__ import annotations

from typing import Final

from agents.core.options import Engines
from agents.loop.agent import AgentSpec
from server.secrets import Grant
from server.transports.realtime_conversation import RealtimeOpening, wanted_extras
from server.transports.realtime_socket import DEFAULT_MODEL, MAX_MODEL_CHARS, OpeningOf, Query
from server.wire.realtime.voice_live import VOICE_LIVE
from server.wire.realtime.voice_live_config import VoiceLiveConfig
from server.wire.realtime.voice_live_warnings import Abilities, Warned

_AGENT: Final = ("agent-name", "agent-id", "agent_name", "agent_id")
_HOSTED: Final = ("agent-version", "foundry-resource-override")
"""Of Azure's own agents; the project, which clients have to name, goes unmentioned."""


def voice_live_opening() -> OpeningOf:
    """How sessions begin. ``model`` is a name only; ``agent-name`` may name our agent."""

    def opening(query: Query, _: Grant | None = None) -> RealtimeOpening:
        model = (query.get("model") or DEFAULT_MODEL)[:MAX_MODEL_CHARS]
        named = next((query[name][:MAX_MODEL_CHARS] for name in _AGENT if query.get(name)), None)

        def config(session_id: str, expires_at: int, engines: Engines) -> VoiceLiveConfig:
            ours = engines.agent.spec
            agent = None
            if named is not None:
                thread = f"conv_{session_id.rpartition('_')[2]}"
                agent = {"type": "agent", "name": ours.name, "agent_id": ours.agent_id, "thread_id": thread}
            warned = _warned(query, named, ours)
            return VoiceLiveConfig.opened(model, session_id, expires_at, abilities(engines), agent=agent, warned=warned)

        return RealtimeOpening(VOICE_LIVE, config, named, wanted_extras(query.get("convergio_extras")))

    return opening


def abilities(engines: Engines) -> Abilities:
    """What a session's engines can do."""
    tts = None if engines.tts is None else engines.tts.profile
    languages = frozenset[str]() if engines.stt is None else engines.stt.profile.locales
    return Abilities(
        voices=() if tts is None else tts.voices,
        voice_locales=frozenset() if tts is None else tts.locales,
        visemes=tts is not None and tts.visemes,
        languages=frozenset(language.partition("-")[0].lower() for language in languages),
    )


def _warned(query: Query, named: str | None, ours: AgentSpec) -> tuple[Warned, ...]:
    warned: list[Warned] = []
    if named is not None and named not in {ours.agent_id, ours.name}:
        warned.append(("agent-name", f"There is no agent '{named}' here; '{ours.name}' answers."))
    if query.get("conversation-id"):
        warned.append(("conversation-id", "Conversations are not kept; this one begins anew."))
    warned += [
        (name, "Agents are this server's own; the parameter has no effect.") for name in _HOSTED if query.get(name)
    ]
    return tuple(warned)
