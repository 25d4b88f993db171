"""One of our sessions on one telephone leg: opened, begun, ended, and what it came to.

Whoever is on the line, the engines, options and attribution are the same. Whoever hangs up, the session ends and its
turns are accounted for; however the session ends, the leg hangs up. Knows no manners and no carrier. Driven by
``server.telephony.conversation`` and ``server.telephony.consultation``, which say what is done meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import anyio

from agents.core.language import rules_for
from agents.core.options import SessionOptions
from agents.core.sound_meter import TICKS_PER_S
from agents.loop.agent import Agent
from server.contracts.session import TurnDetection
from server.engine_source import Lease
from server.errors import describe
from server.guard import Identity
from server.host import Host
from server.ids import new_id
from server.observability.arrival import Arrival
from server.sessions.live import LiveSession
from server.sessions.voice_options import turn_policy
from server.telephony.delivery import PhoneDelivery
from server.telephony.link import PhoneLink
from server.telephony.numbers import masked
from server.telephony.port import HangUpReason, PhoneLeg, PhoneListener

logger = logging.getLogger(__name__)

END_LIMIT_S: Final = 20.0
"""What a session gets to account for its turns and hang up."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What a call came to: how long its conversation lasted, and how much of the caller's audio was heard.

    ``session_id`` ``None``: no conversation came of it.
    """

    call_id: str
    session_id: str | None
    reason: HangUpReason
    call_ms: int
    heard_ms: int


class HeldCall:
    """See the module. ``run`` once. Where the session is is ``live``, once there is one."""

    def __init__(self, host: Host, owner: Identity, leg: PhoneLeg, kind: str = "call") -> None:
        """``kind`` is what logs call it."""
        self.leg = leg
        self.live: LiveSession | None = None
        self.reason: HangUpReason | None = None
        """Why it ended, once that is known."""
        self.heard_ticks = 0
        """Of the caller's audio (``agents.core.sound_meter``)."""
        self._host = host
        self._owner = owner
        self._kind = kind
        self._born_s = time.monotonic()
        self._lasted_ms: int | None = None
        self._final: CallRecord | None = None

    async def run(
        self,
        locale: str,
        delivery: PhoneDelivery,
        shaped: Callable[[Agent], Agent],
        hold: Callable[[LiveSession], Awaitable[None]],
    ) -> CallRecord:
        """Open the session, with the agent the call names as ``shaped`` has it, and ``hold`` it.

        Returns when all of it is closed. Never raises for a fault of its own.
        """
        info = self.leg.info
        told = {"call_id": info.call_id, "carrier": info.carrier, "direction": info.direction}
        numbers = {"caller": masked(info.caller), "callee": masked(info.callee)}
        logger.info("%s began", self._kind, extra={**told, **numbers})
        try:
            live = await self._open(locale, delivery, shaped)
        except Exception as error:
            failure = describe(error)
            self._host.metrics.errors.labels(failure.code).inc()
            if not failure.expected:
                logger.exception("%s failed", self._kind, extra=told)
            self.reason = "refused" if failure.expected else "failed"
            await self.leg.hang_up(self.reason)
        else:
            await hold(live)
        self._final = record = self.record
        logger.info("%s ended", self._kind, extra={**told, "reason": record.reason, "call_ms": record.call_ms})
        return record

    @asynccontextmanager
    async def held(self, live: LiveSession, listener: PhoneListener) -> AsyncGenerator[None]:
        """The leg is the session's, and the listener is told of it, while the body runs; then both are closed."""
        self.live = live
        live.session.sound.calls(self._lasted)
        live.adopt(PhoneLink(self.leg, lambda: self.reason))
        try:
            await live.started.wait()
            self._born_s = time.monotonic()
            self.leg.listen(listener)
            yield
        finally:
            live.end()
            with anyio.CancelScope(shield=True), anyio.move_on_after(END_LIMIT_S):
                await live.closed.wait()

    def end(self, reason: HangUpReason) -> None:
        """It is over. Why the other side left is known better than why we did."""
        if self.reason is None or reason in {"caller", "lost"}:
            self.reason = reason
        if self.live is not None:
            self.live.end()

    def now_ms(self) -> int:
        """Since the session could be spoken to."""
        return round((time.monotonic() - self._born_s) * 1_000)

    @property
    def record(self) -> CallRecord:
        """What the call has come to so far; once ``run`` has returned, in all."""
        if self._final is not None:
            return self._final
        session_id = None if self.live is None else self.live.session_id
        lasted_ms = self.now_ms() if self._lasted_ms is None else self._lasted_ms
        call_ms = 0 if self.live is None else lasted_ms
        heard_ms = self.heard_ticks * 1_000 // TICKS_PER_S
        return CallRecord(self.leg.info.call_id, session_id, self.reason or "agent", call_ms, heard_ms)

    def _lasted(self) -> int:
        """What goes into its account, and so onto its record."""
        self._lasted_ms = self.now_ms()
        return self._lasted_ms

    async def _open(self, locale: str, delivery: PhoneDelivery, shaped: Callable[[Agent], Agent]) -> LiveSession:
        """Raises Refused."""
        host, owner, info = self._host, self._owner, self.leg.info
        lease = await host.lease(owner, info.parameters.get("agent_id") or None, locale)
        try:
            agent = shaped(lease.engines.agent)
            latency = host.latencies.phone(owner, agent.spec.agent_id, locale)
            policy = turn_policy(TurnDetection(), "normal")
            latency = latency.waiting(policy.max_wait_ms)
            identity = host.identity(owner, new_id("ses"))
            options = SessionOptions(
                identity=replace(identity, carrier=info.carrier, leg=info.direction),
                locale=locale,
                policy=replace(latency.policy(policy), rules=rules_for(locale)),
                budget=latency.enforced_budget,
                output_rate_hz=self.leg.rate_hz,
                greet=False,
            )
        except BaseException:
            lease.give_back()
            raise
        lent = Lease(replace(lease.engines, agent=agent), lease.give_back)
        return host.open_phone(options, lent, delivery, owner, Arrival("phone"))
