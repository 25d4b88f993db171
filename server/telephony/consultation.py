"""The other call of a warm transfer: whoever takes over is told what it is about, then talks with the caller.

A session of its own speaks the summary over their leg, in the agent's voice; it never listens. Once ``join`` was
called the two legs are bridged until either is over; both go on being calls of ours, and are metered as such. The desk
runs it like any conversation (``run`` once); the caller's conversation waits for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import anyio

from agents.events import ServerEvent, TurnCompleted, TurnStarted
from agents.loop.agent import Agent
from audio.formats import Samples
from server.guard import Identity
from server.host import Host
from server.sessions.live import LiveSession
from server.telephony.bridge import Bridge
from server.telephony.delivery import PhoneDelivery
from server.telephony.held_call import CallRecord, HeldCall
from server.telephony.phrases import phrases_for
from server.telephony.port import HangUpReason, PhoneLeg

BRIEFING_LIMIT_S: Final = 60.0
"""How long the summary may take to be said."""
TICK_S: Final = 0.5


class Consultation:
    """See the module. To its leg a ``PhoneListener``."""

    def __init__(self, host: Host, owner: Identity, locale: str, summary: str) -> None:
        self.owner = owner
        self.answered = anyio.Event()
        self.briefed = anyio.Event()
        """The summary was said, or the call is over."""
        self.over = anyio.Event()
        self._host = host
        self._locale = locale
        self._summary = " ".join(phrases_for(locale).handing_over.format(summary=summary).split())
        self._call: HeldCall | None = None
        self._bridge: Bridge | None = None
        self._holding = False
        self._briefing: str | None = None

    def over_leg(self, leg: PhoneLeg) -> Consultation:
        """They have answered: this is their leg."""
        self._call = HeldCall(self._host, self.owner, leg, "consultation")
        self.answered.set()
        return self

    # --- life ---

    async def run(self) -> CallRecord:
        """Hold the call until it is over and all of it is closed. Never raises for a fault of its own."""
        delivery = PhoneDelivery(self._theirs.leg, self._notice)
        try:
            return await self._theirs.run(self._locale, delivery, _mute, self._hold)
        finally:
            self.briefed.set()
            self.over.set()

    async def _hold(self, live: LiveSession) -> None:
        call = self._theirs
        async with call.held(live, self):
            live.session.announce(self._summary)
            while not live.ended.is_set():
                with anyio.move_on_after(TICK_S):
                    await live.ended.wait()
                live.touch()
                if not self.briefed.is_set() and call.now_ms() > BRIEFING_LIMIT_S * 1_000:
                    call.end("failed")

    @property
    def stays(self) -> bool:
        """Whether they were told everything and are still there."""
        ends = self._call is None or self._call.reason is not None
        return self.briefed.is_set() and not ends and not self.over.is_set()

    def join(self, bridge: Bridge) -> None:
        """What they say and press goes over this bridge from now on."""
        self._bridge = bridge
        bridge.held(self._theirs.leg, self._holding)

    @property
    def leg(self) -> PhoneLeg | None:
        """Theirs, once they have answered."""
        return None if self._call is None else self._call.leg

    # --- what the leg tells ---

    def heard(self, samples: Samples, rate_hz: int) -> None:
        """Nobody listens before the summary was said."""
        if self._bridge is not None:
            self._bridge.heard(self._theirs.leg, samples, rate_hz)

    def digit(self, digit: str) -> None:
        """Passed on, like what they say."""
        if self._bridge is not None:
            self._bridge.digit(self._theirs.leg, digit)

    def played(self, heard_ms: int) -> None:
        """Of the summary, which nobody interrupts."""

    def held(self, on: bool) -> None:
        """They put the caller on hold (their telephone plays what it plays), or took the call back."""
        self._holding = on
        if self._bridge is not None:
            self._bridge.held(self._theirs.leg, on)

    def ended(self, reason: HangUpReason) -> None:
        """The call is over."""
        if self._call is not None:
            self._call.end(reason)

    # --- inside ---

    def _notice(self, event: ServerEvent) -> None:
        match event:
            case TurnStarted() if event.source == "announcement":
                self._briefing = self._briefing or event.turn_id
            case TurnCompleted() if event.turn_id == self._briefing and not event.interrupted:
                self.briefed.set()
            case _:
                pass

    @property
    def _theirs(self) -> HeldCall:
        assert self._call is not None, "nobody has answered yet"
        return self._call

    @property
    def record(self) -> CallRecord:
        """What the call has come to so far; once ``run`` has returned, in all."""
        return self._theirs.record


def _mute(agent: Agent) -> Agent:
    """The agent, with nothing to say of its own."""
    return agent.as_spec(replace(agent.spec, greeting=None, tools=()))
