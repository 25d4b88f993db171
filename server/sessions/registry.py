"""All conversations of this server by id: who may come in, who may come back, and when each of them must end.

Owns the limits that span sessions (how many, how long, how long detached, how slow) and the drain. Sessions run in
the task group given here; a watch once a second applies the limits to all of them, which costs the same for one
session and for hundreds what a timer each would not.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup

from server.budget_settings import BurstSettings
from server.contracts.errors import ERRORS, ErrorCode
from server.errors import Refused
from server.guard import Identity
from server.observability.metrics import Metrics
from server.sessions.live import LiveSession
from server.settings import Limits

logger = logging.getLogger(__name__)

WATCH_INTERVAL_S: Final = 1.0
REMEMBERED_ENDS: Final = 4_096
RETRY_AFTER_S: Final = 5.0
LAST_WORDS_S: Final = 10.0
"""What ended sessions get to make their usage durable."""


class SessionRegistry:
    """The conversations of one server process."""

    def __init__(self, tasks: TaskGroup, limits: Limits, metrics: Metrics) -> None:
        self._tasks = tasks
        self._limits = limits
        self._metrics = metrics
        self._live: dict[str, LiveSession] = {}
        self._ended: OrderedDict[str, Identity] = OrderedDict()
        self._draining = False
        metrics.sessions_open.set_function(lambda: len(self._live))
        metrics.sessions_detached.set_function(lambda: sum(live.connection is None for live in self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    @property
    def draining(self) -> bool:
        """Whether the server is going away."""
        return self._draining

    def require_room(self) -> None:
        """Raise Refused where no further session can be taken now."""
        if self._draining:
            raise Refused(ErrorCode.SERVER_DRAINING, retry_after_s=RETRY_AFTER_S)
        if len(self._live) >= self._limits.max_sessions:
            raise Refused(ErrorCode.SERVER_OVERLOADED, retry_after_s=RETRY_AFTER_S)

    def require_hope(self) -> None:
        """Raise Refused where neither a new session nor an old one to come back to can be had."""
        if any(live.connection is None for live in self._live.values()) and not self._draining:
            return
        self.require_room()

    def require_room_for(self, owner: Identity, bursts: BurstSettings) -> None:
        """Raise Refused where no further session can be taken now, of anybody's, of this tenant's or of this user's (a
        key that is nobody's is a user of its own)."""
        self.require_room()
        tenants = [live.owner for live in self._live.values() if live.owner.tenant_id == owner.tenant_id]
        here, own = len(tenants), sum(each.user_id == owner.user_id for each in tenants)
        per_key = self._limits.max_sessions_per_key
        shares = (
            (bursts.sessions_per_tenant, here, "tenant"),
            (bursts.sessions_per_user, own, "user"),
            (per_key, own, "user"),
        )
        for most, now, whose in shares:
            if most is not None and now >= most:
                sentence = f"At most {most} conversations at once are allowed for this {whose}."
                raise Refused(ErrorCode.RATE_LIMITED, sentence, retry_after_s=RETRY_AFTER_S)

    def host(self, live: LiveSession, on_ended: Callable[[], None]) -> None:
        """Run a session, for which there is room, until it ends, and tell of that."""
        self._live[live.session_id] = live
        self._tasks.start_soon(self._run, live, on_ended)

    def find(self, session_id: str, owner: Identity) -> LiveSession:
        """The session a client comes back to. Raises Refused where it has ended or never was (for this owner)."""
        live = self._live.get(session_id)
        if live is not None and live.owner == owner and live.resumable and not live.ended.is_set():
            self._metrics.resumes.labels("resumed").inc()
            return live
        if self._ended.get(session_id) == owner:
            self._metrics.resumes.labels("expired").inc()
            raise Refused(ErrorCode.SESSION_EXPIRED)
        self._metrics.resumes.labels("not_found").inc()
        raise Refused(ErrorCode.SESSION_NOT_FOUND)

    def get(self, session_id: str) -> LiveSession | None:
        """A conversation that is going on, whoever's it is."""
        return self._live.get(session_id)

    def of(self, tenant_id: str, user_id: str) -> list[LiveSession]:
        """What this person is in the middle of."""
        who = (tenant_id, user_id)
        return [live for live in self._live.values() if (live.identity.tenant_id, live.identity.user_id) == who]

    async def watch(self) -> None:
        """Apply the limits once a second, until cancelled."""
        due_s = time.monotonic() + WATCH_INTERVAL_S
        while True:
            await anyio.sleep(max(0.0, due_s - time.monotonic()))
            now_s = time.monotonic()
            self._metrics.loop_lag.observe(max(0.0, now_s - due_s))
            due_s = now_s + WATCH_INTERVAL_S
            for live in list(self._live.values()):
                self._check(live, now_s)

    async def drain(self) -> None:
        """Let running conversations finish what they are at, within the grace; then end them."""
        if self._draining:
            return
        self._draining = True
        grace_s = self._limits.drain_grace_s
        hosted = list(self._live.values())
        for live in hosted:
            live.drain(round(grace_s * 1_000))
        with anyio.move_on_after(grace_s):
            await _all_ended(hosted)
        for live in hosted:
            live.leave()
        with anyio.move_on_after(LAST_WORDS_S):
            await _all_ended(hosted)

    async def _run(self, live: LiveSession, on_ended: Callable[[], None]) -> None:
        logger.info("session began", extra={"session_id": live.session_id, "user_id": live.owner.user_id})
        try:
            await live.run()
        finally:
            on_ended()
            del self._live[live.session_id]
            self._ended[live.session_id] = live.owner
            if len(self._ended) > REMEMBERED_ENDS:
                self._ended.popitem(last=False)
            self._metrics.replay_dropped.inc(live.delivery.frames_lost)
            seconds = round(time.monotonic() - live.born_at_s, 1)
            logger.info("session ended", extra={"session_id": live.session_id, "seconds": seconds})

    def _check(self, live: LiveSession, now_s: float) -> None:
        limits = self._limits
        credential, connection = live.owner.credential, live.connection
        if credential is not None and credential.ended(now_s):
            live.end(ErrorCode.AUTH_INVALID, "What this conversation was begun with has expired or been revoked.")
        if connection is not None and (since_s := connection.sending_since_s) is not None:
            if now_s - since_s > limits.send_timeout_s:
                self._metrics.connections_cut.labels("slow_reader").inc()
                logger.warning("connection cut", extra={"session_id": live.session_id, "reason": "slow_reader"})
                connection.cut(ERRORS[ErrorCode.RATE_LIMITED].close_code, "The client reads too slowly.")
                live.detach(connection)
        elif connection is None and live.detached_at_s is not None:
            if now_s - live.detached_at_s > (limits.resume_window_s if live.resumable else 0):
                live.end(ErrorCode.SESSION_EXPIRED)
        elif now_s - live.active_at_s > limits.idle_timeout_s:
            live.end(ErrorCode.SESSION_EXPIRED, "Nothing happened for a long time.")
        if now_s - live.born_at_s > limits.session_minutes * 60:
            live.end(ErrorCode.SESSION_EXPIRED, f"A session lasts at most {limits.session_minutes} minutes.")


async def _all_ended(hosted: list[LiveSession]) -> None:
    for live in hosted:
        await live.ended.wait()
