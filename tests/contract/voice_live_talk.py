"""A Voice Live codec in conversation, every message out held strictly to the official SDK's own models."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("azure.ai.voicelive", reason="needs azure-ai-voicelive, the official Voice Live client")

from contract.realtime_talk import SESSION_ID, RealtimeTalk
from contract.voicelive_models import validate

from agents.events import MouthShape, VisemesOut
from server.wire.realtime.voice_live import VOICE_LIVE
from server.wire.realtime.voice_live_config import VoiceLiveConfig
from server.wire.realtime.voice_live_warnings import Abilities, Warned

ABILITIES = Abilities(("joe", "amy"), frozenset({"en-US"}), frozenset({"en"}))
TRANSCRIBED = {"model": "azure-speech", "language": "en-US"}
TOOL = {"type": "function", "name": "lookup", "description": "Look up.", "parameters": {"type": "object"}}


class VoiceLiveTalk(RealtimeTalk):
    """A session in this dialect."""

    def __init__(
        self,
        *,
        agent: dict[str, Any] | None = None,
        warned: tuple[Warned, ...] = (),
        abilities: Abilities = ABILITIES,
    ) -> None:
        config = VoiceLiveConfig.opened(
            "gpt-realtime", SESSION_ID, 1_800_000_000, abilities, agent=agent, warned=warned
        )
        super().__init__(dialect=VOICE_LIVE, config=config, check=validate)

    def update(self, **session: Any) -> list[Any]:
        return self.send("session.update", session=session)

    def see(self, *shapes: tuple[int, int]) -> None:
        """Mouth shapes of what comes next."""
        self.hear(VisemesOut("turn_1", tuple(MouthShape(*shape) for shape in shapes)))


def started(**how: Any) -> VoiceLiveTalk:
    talk = VoiceLiveTalk(**how)
    talk.start()
    return talk
