"""What is said while an answer is late: its first words, or that it is coming.

Owns one turn's bridge over the wait: the phrase is spoken ahead of its need once the answer takes longer than is aimed
at, and said when the machine finds it late. Owned by the turn; when it is late is the machine's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from agents.core.accounts import TurnAccount
from agents.core.answering import Answering, PendingPhrase, Phrases
from agents.core.event_gate import EventGate
from agents.core.fillers import Fillers
from agents.core.options import SessionOptions
from agents.core.turn_voice import TurnVoice
from agents.core.turn_watch import TurnWatch
from agents.events import Caption


@dataclass(frozen=True, slots=True)
class BridgePorts:
    """The turn's own parts, and who is told that the user got something without a voice."""

    turn_id: str
    options: SessionOptions
    gate: EventGate
    watch: TurnWatch
    account: TurnAccount
    answering: Answering
    fillers: Fillers
    on_read: Callable[[], None]


class Bridge:
    """See the module. ``voice`` is ``None`` where the turn has none."""

    def __init__(self, ports: BridgePorts, voice: TurnVoice | None) -> None:
        self._ports = ports
        self._voice = voice
        self._is_over = False
        self._preparing: anyio.CancelScope | None = None

    def cross(self, phrases: Phrases) -> None:
        """The answer is late, and nothing of it has been heard: hand on what there is of it, or a filler."""
        ports, watch = self._ports, self._ports.watch
        if ports.answering.has_phrases:
            return
        if watch.does("agent", "shorten") and ports.answering.hasten(phrases):
            watch.late("agent", "shorten")
            return
        reads = self._voice is None or self._voice.lost
        text = None if reads and ports.answering.reply else ports.fillers.take()
        if text is None:
            return
        watch.late("agent" if watch.does("agent", "filler") else "total", "filler")
        prepared = ports.fillers.prepared(text, ports.options)
        captioned = reads or (prepared is None and watch.budget is not None)
        if captioned:  # it can be read, however long the voice takes
            ports.gate.emit(Caption("agent", text, 0, 0, True, ports.turn_id, only=reads))
        if reads:
            ports.on_read()
            return
        try:
            phrases.send_nowait(PendingPhrase(text, False, bridges=True, prepared=prepared, captioned=captioned))
        except anyio.WouldBlock:
            return
        if prepared is not None:
            ports.account.audio_ms_replayed += prepared.ms  # it was counted when it was made

    def over(self) -> None:
        """The answer is there, or none will come: there is nothing to bridge any more."""
        self._is_over = True
        if self._preparing is not None:
            self._preparing.cancel()

    async def prepare(self) -> None:
        """Once the answer takes longer than is aimed at, have the words spoken that will bridge the wait."""
        if not self._is_over:
            with anyio.CancelScope() as self._preparing:
                await self._prepare()

    async def _prepare(self) -> None:
        ports, budget = self._ports, self._ports.watch.budget
        fills = ports.watch.does("agent", "filler") or ports.watch.does("total", "filler")
        if self._voice is None or budget is None or not fills:
            return
        await anyio.sleep(budget.stages["agent"].target_ms / 1_000)
        text = None if ports.answering.has_phrases else ports.fillers.upcoming
        if text is None or ports.fillers.prepared(text, ports.options) is not None:
            return
        prepared = await self._voice.prepare(text)
        if prepared is not None:
            ports.account.audio_ms_synthesized += prepared.ms
            ports.fillers.keep(prepared, ports.options)
