"""One connection that speaks a realtime protocol (OpenAI's or Voice Live's): from its beginning to its end.

The session begins with the connection and ends with it. One reader per connection; the one writer is the session's own
(``server.sessions.live``). Whether the connection is a socket or a data channel makes no difference, but for where
the audio is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agents.core.options import Engines
from server.contracts.errors import ErrorCode
from server.engine_source import Lease
from server.guard import Identity
from server.host import Host
from server.ids import new_id
from server.observability.arrival import Arrival
from server.sessions.allowance import ResponseWindow
from server.sessions.live import LiveSession
from server.sessions.realtime_conduct import RealtimeConduct
from server.sessions.realtime_delivery import RealtimeDelivery
from server.sessions.realtime_options import Surroundings, locale_of, realtime_options
from server.transports.channel_link import TOO_FAST
from server.transports.connection import Disconnected, Duplex
from server.transports.media_port import MediaPort
from server.wire.realtime.codec import EXTRAS, RealtimeCodec
from server.wire.realtime.dialect import Dialect, SessionConfig
from server.wire.realtime.faults import RealtimeFault
from server.wire.realtime.state import RealtimeState, error_json

logger = logging.getLogger(__name__)

OpenConfig = Callable[[str, int, Engines], SessionConfig]
"""A session's first configuration: from its id, when it expires (Unix seconds), its engines. Raises RealtimeFault."""


@dataclass(frozen=True, slots=True)
class RealtimeOpening:
    """How a realtime session begins: its dialect, what it is before the client says anything, and what else to tell."""

    dialect: Dialect
    config: OpenConfig
    agent_id: str | None = None
    extras: frozenset[str] = field(default_factory=frozenset[str])


def wanted_extras(named: str | None) -> frozenset[str]:
    """The extras a client asked for by name, separated by commas; names nobody knows mean nothing."""
    return frozenset(name.strip() for name in (named or "").split(",")) & EXTRAS.keys()


class RealtimeConversation:
    """One connection's conversation. ``live`` is its session, once ``open`` has returned."""

    def __init__(
        self,
        host: Host,
        opening: RealtimeOpening,
        identity: Identity,
        arrival: Arrival,
        media: MediaPort | None = None,
    ) -> None:
        self._host = host
        self._opening = opening
        self._owner = identity
        self._arrival = arrival
        self._media = media
        self._conduct: RealtimeConduct | None = None
        self._delivery: RealtimeDelivery | None = None
        self._live: LiveSession | None = None

    @property
    def live(self) -> LiveSession:
        """The session, once it is open."""
        assert self._live is not None, "the conversation is not open"
        return self._live

    async def open(self) -> LiveSession:
        """Begin the session. Raises Refused, RealtimeFault."""
        host, opening = self._host, self._opening
        await host.agent(
            None, self._owner
        )  # what the engines can do is part of the configuration: they have to be there
        session_id = new_id("sess")
        expires_at = host.epoch_ms() // 1_000 + host.settings.limits.session_minutes * 60
        locale = locale_of(opening.config(session_id, expires_at, host.engines.for_sessions()).settings)
        lease = await host.lease_realtime(self._owner, opening.agent_id, locale)
        try:
            return self._opened(opening.config(session_id, expires_at, lease.engines), session_id, lease)
        except BaseException:
            lease.give_back()
            raise

    def _opened(self, config: SessionConfig, session_id: str, lease: Lease) -> LiveSession:
        host, opening = self._host, self._opening
        tts = lease.engines.tts
        state = RealtimeState(
            session_id, config, opening.dialect, new_id, media=self._media is not None, voiceless=tts is None
        )
        limits = host.settings.limits
        window = ResponseWindow(limits.responses_per_minute, time.monotonic)
        codec = RealtimeCodec(state, window, extras=opening.extras, max_faults=limits.max_bad_messages)
        delivery = RealtimeDelivery(codec, self._media)
        identity = host.identity(self._owner, session_id)
        settings = state.config.settings.for_media() if self._media is not None else state.config.settings
        latency = host.latencies.realtime(self._owner, lease.engines.agent.spec.agent_id, locale_of(settings))
        voices = () if tts is None else tts.profile.voices
        around = Surroundings(identity, latency, voices, media=self._media is not None)
        options = realtime_options(settings, around)
        delivery.open_audio(settings.output_format, options.output_rate_hz)
        self._live = live = host.open_realtime(options, lease, delivery, self._owner, self._arrival)
        self._delivery = delivery
        self._conduct = RealtimeConduct(live, delivery, around, window)
        if self._media is not None:
            self._media.ear = live.session.hear
        return live

    async def run(self, connection: Duplex) -> None:
        """Hold the conversation over this connection until it is gone."""
        live, conduct, delivery = self.live, self._conduct, self._delivery
        assert conduct is not None and delivery is not None, "the conversation is not open"  # noqa: PT018
        live.adopt(connection)
        await live.started.wait()  # the greeting comes before any answer
        try:
            while True:
                frame = await connection.receive()
                try:
                    await conduct.carry_out(delivery.codec.feed(frame))
                except RealtimeFault as fault:
                    live.end(ErrorCode.REQUEST_INVALID, fault.message)
                except Disconnected:
                    raise
                except Exception:
                    # A fault of ours in one message: it is told, and the next one counts.
                    logger.exception("a realtime message failed", extra={"session_id": live.session_id})
                    conduct.tell_failure()
        except Disconnected as gone:
            if gone.code == TOO_FAST:
                live.end(ErrorCode.RATE_LIMITED, "Messages came faster than they could be read.")
            else:
                live.detach(connection)
        finally:
            if self._media is not None:
                self._media.ear = None


def fault_body(fault: RealtimeFault) -> dict[str, Any]:
    """A fault before there is a session, as an HTTP body."""
    return {"error": error_json(fault)}
