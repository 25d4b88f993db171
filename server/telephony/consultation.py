"""The other call of a warm transfer: whoever takes over is told what it is about, then talks with the caller.

A session of its own speaks the summary over their leg, in the agent's voice; it never listens. Once ``join`` was
called the two legs are bridged until either is over; both go on being calls of ours, and are metered as such. The desk
runs it like any conversation (``run`` once); the caller's conversation waits for it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Final

import anyio

from agents.events import ServerEvent, TurnCompleted, TurnStarted
from agents.loop.agent import Agent
from audio.formats import Samples
from server.errors import describe
from server.guard import Identity
from server.host import Host
from server.sessions.live import LiveSession
from server.telephony.bridge import Bridge
from server.telephony.call_record import CallRecord
from server.telephony.delivery import PhoneDelivery
from server.telephony.link import PhoneLink
from server.telephony.numbers import masked
from server.telephony.opening import open_session
from server.telephony.phrases import phrases_for
from server.telephony.port import HangUpReason, PhoneLeg

logger = logging.getLogger(__name__)

BRIEFING_LIMIT_S: Final = 60.0
"""How long the summary may take to be said."""
END_LIMIT_S: Final = 20.0
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
        self._leg: PhoneLeg | None = None
        self._live: LiveSession | None = None
        self._bridge: Bridge | None = None
        self._briefing: str | None = None
        self._reason: HangUpReason | None = None
        self._born_s = time.monotonic()
        self._final: CallRecord | None = None

    def over_leg(self, leg: PhoneLeg) -> Consultation:
        """They have answered: this is their leg."""
        self._leg = leg
        self.answered.set()
        return self

    # --- life ---

    async def run(self) -> CallRecord:
        """Hold the call until it is over and all of it is closed. Never raises for a fault of its own."""
        leg = self._theirs
        told = {"call_id": leg.info.call_id, "carrier": leg.info.carrier, "to": masked(leg.info.callee)}
        logger.info("consultation began", extra=told)
        try:
            delivery = PhoneDelivery(leg, self._notice)
            live = await open_session(self._host, self.owner, leg, self._locale, delivery, _mute)
        except Exception as error:
            failure = describe(error)
            self._host.metrics.errors.labels(failure.code).inc()
            if not failure.expected:
                logger.exception("consultation failed", extra=told)
            self._reason = "refused" if failure.expected else "failed"
            await leg.hang_up(self._reason)
        else:
            await self._hold(live, leg)
        finally:
            self.briefed.set()
            self.over.set()
        self._final = record = self.record
        logger.info("consultation ended", extra={**told, "reason": record.reason, "call_ms": record.call_ms})
        return record

    async def _hold(self, live: LiveSession, leg: PhoneLeg) -> None:
        self._live = live
        live.adopt(PhoneLink(leg, lambda: self._reason))
        try:
            await live.started.wait()
            self._born_s = time.monotonic()
            live.session.sound.calls(self._now_ms)
            leg.listen(self)
            live.session.announce(self._summary)
            while not live.ended.is_set():
                with anyio.move_on_after(TICK_S):
                    await live.ended.wait()
                live.touch()
                if not self.briefed.is_set() and self._now_ms() > BRIEFING_LIMIT_S * 1_000:
                    self._end("failed")
        finally:
            live.end()
            with anyio.CancelScope(shield=True), anyio.move_on_after(END_LIMIT_S):
                await live.closed.wait()

    @property
    def stays(self) -> bool:
        """Whether they were told everything and are still there."""
        return self.briefed.is_set() and self._reason is None and not self.over.is_set()

    def join(self, bridge: Bridge) -> None:
        """What they say and press goes over this bridge from now on."""
        self._bridge = bridge

    @property
    def leg(self) -> PhoneLeg | None:
        """Theirs, once they have answered."""
        return self._leg

    # --- what the leg tells ---

    def heard(self, samples: Samples, rate_hz: int) -> None:
        """Nobody listens before the summary was said."""
        if self._bridge is not None:
            self._bridge.heard(self._theirs, samples, rate_hz)

    def digit(self, digit: str) -> None:
        """Passed on, like what they say."""
        if self._bridge is not None:
            self._bridge.digit(self._theirs, digit)

    def played(self, heard_ms: int) -> None:
        """Of the summary, which nobody interrupts."""

    def held(self, on: bool) -> None:
        """They put the caller on hold: their telephone plays what it plays."""

    def ended(self, reason: HangUpReason) -> None:
        """The call is over."""
        self._end(reason)

    # --- inside ---

    def _notice(self, event: ServerEvent) -> None:
        match event:
            case TurnStarted() if event.source == "announcement":
                self._briefing = self._briefing or event.turn_id
            case TurnCompleted() if event.turn_id == self._briefing and not event.interrupted:
                self.briefed.set()
            case _:
                pass

    def _end(self, reason: HangUpReason) -> None:
        if self._reason is None or reason in {"caller", "lost"}:
            self._reason = reason
        if self._live is not None:
            self._live.end()

    @property
    def _theirs(self) -> PhoneLeg:
        assert self._leg is not None, "nobody has answered yet"
        return self._leg

    def _now_ms(self) -> int:
        return round((time.monotonic() - self._born_s) * 1_000)

    @property
    def record(self) -> CallRecord:
        """What the call has come to so far; once ``run`` has returned, in all."""
        if self._final is not None:
            return self._final
        live = self._live
        call_ms = 0 if live is None else self._now_ms()
        session_id = None if live is None else live.session_id
        return CallRecord(self._theirs.info.call_id, session_id, self._reason or "agent", call_ms, 0)


def _mute(agent: Agent) -> Agent:
    """The agent, with nothing to say of its own."""
    return agent.as_spec(replace(agent.spec, greeting=None, tools=()))
