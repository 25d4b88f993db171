"""WebRTC connections by id: each a peer with its audio, its data channel and the conversation held over it.

A call is made of an offer, begins when its data channel opens, and ends with its peer. Owns the calls and their task
group; knows no HTTP and no protocol, which come with ``Conversation``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Final

import anyio
from anyio.abc import TaskGroup

from audio.formats import Samples
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity
from server.ids import new_id
from server.observability.metrics import Metrics
from server.settings import Settings
from server.transports.channel_link import ChannelLink, NoChannel
from server.transports.connection import Duplex
from server.transports.media_port import MediaPort
from server.transports.rtc.hub import RtcHub
from server.transports.rtc.port import BadOffer, Channel, CloseReason, IceUnavailable, PeerClosed, PeerState

logger = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 2.0
NORMAL_CLOSURE: Final = 1000
LOST: Final = 1006
LAST_WORDS_S: Final = 0.5
"""What the last message gets to reach the client before the peer is closed."""

Conversation = Callable[[MediaPort, Duplex], Awaitable[None]]
"""Holds a conversation over a connection until that is gone."""


class Call:
    """One WebRTC connection: a peer's listener, and its audio as a conversation sees it."""

    def __init__(self, hub: RtcHub, call_id: str, owner: Identity, label: str | None) -> None:
        """``label`` is that of the data channel which carries the conversation; ``None``: there is none."""
        self.call_id = call_id
        self.owner = owner
        self.ear: Callable[[Samples], None] | None = None
        self.peer = hub.peer(self)
        self.link: ChannelLink | NoChannel | None = None
        self.reason: CloseReason | None = None
        self._label = label
        self._opened = anyio.Event()

    # --- what the peer tells ---

    def on_audio(self, samples: Samples) -> None:
        """What was heard next."""
        if self.ear is not None:
            self.ear(samples)

    def on_channel(self, channel: Channel) -> None:
        """The first channel of the right name carries the conversation; others are closed."""
        if self.link is not None or self._label != channel.label:
            channel.close()
            return
        self.link = ChannelLink(channel)
        self._opened.set()

    def on_state(self, state: PeerState, reason: CloseReason | None) -> None:
        """A call without messages begins when it is connected; any ends when its peer is gone for good."""
        if state is PeerState.CONNECTED and self._label is None and self.link is None:
            self.link = NoChannel()
            self._opened.set()
        if state is not PeerState.CLOSED:
            return
        self.reason = reason
        logger.info("call ended", extra={"call_id": self.call_id, "reason": reason, **asdict(self.peer.stats)})
        if self.link is not None:
            self.link.cut(LOST)
        self._opened.set()

    # --- the agent's voice ---

    def play(self, samples: Samples, rate_hz: int) -> None:
        """More of the agent's voice."""
        self.peer.play(samples, rate_hz)

    def finish(self) -> None:
        """The turn's audio is complete."""

    def clear(self) -> None:
        """Silence now."""
        self.peer.clear()

    def hang_up(self) -> None:
        """End the call and its conversation."""
        if self.link is not None:
            self.link.cut(NORMAL_CLOSURE)
        self._opened.set()

    async def opened(self, limit_s: float) -> Duplex | None:
        """The connection, once there is one; ``None`` where the peer was gone before, or none came in time."""
        with anyio.move_on_after(limit_s):
            await self._opened.wait()
        return self.link


class Calls:
    """The WebRTC connections of one server process."""

    def __init__(self, hub: RtcHub, settings: Settings, metrics: Metrics) -> None:
        self._hub = hub
        self._limits = settings.limits
        self._open_limit_s = settings.webrtc.connect_timeout_s + settings.limits.handshake_timeout_s
        self._metrics = metrics
        self._calls: dict[str, Call] = {}
        metrics.watch("convergio_webrtc_open", "WebRTC connections open, connecting ones included.", self.__len__)
        self._tasks: TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._calls)

    async def run(self) -> None:
        """Until cancelled; every call has ended before this returns."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                await self._hub.run()
            finally:
                self._tasks = None
                tasks.cancel_scope.cancel()

    async def begin(
        self, offer: str, owner: Identity, label: str | None, conversation: Conversation
    ) -> tuple[Call, str]:
        """Answer an offer. ``conversation`` is held once its data channel opens (or, with no ``label``, at once).

        Raises:
            Refused: an offer that cannot be answered, no room, or no address left.
        """
        if self._tasks is None or len(self._calls) >= self._limits.max_sessions:
            raise Refused(ErrorCode.SERVER_OVERLOADED, retry_after_s=RETRY_AFTER_S)
        self._require_share(owner)
        call = Call(self._hub, new_id("rtc"), owner, label)
        self._calls[call.call_id] = call
        try:
            answer = await described(call.peer.answer(offer))
        except BaseException:
            del self._calls[call.call_id]
            raise
        self._tasks.start_soon(self._hold, call, conversation)
        return call, answer

    def find(self, call_id: str, owner: Identity) -> Call:
        """A call of this owner's. Raises Refused."""
        call = self._calls.get(call_id)
        if call is None or call.owner != owner:
            raise Refused(ErrorCode.SESSION_NOT_FOUND, "There is no such call.")
        return call

    def _require_share(self, owner: Identity) -> None:
        """One caller's offers that lead nowhere must not take the places of all others."""
        theirs = [call for call in self._calls.values() if call.owner == owner]
        connecting = sum(call.link is None for call in theirs)
        most = self._limits.max_sessions_per_key
        if connecting >= self._limits.max_connecting_per_key or (most is not None and len(theirs) >= most):
            raise Refused(ErrorCode.RATE_LIMITED, retry_after_s=RETRY_AFTER_S)

    async def _hold(self, call: Call, conversation: Conversation) -> None:
        try:
            link = await call.opened(self._open_limit_s)
            if link is not None:
                await conversation(call, link)
                await anyio.sleep(LAST_WORDS_S)
        except Exception:
            logger.exception("call failed", extra={"call_id": call.call_id})
        finally:
            with anyio.CancelScope(shield=True):
                await call.peer.close()
            self._calls.pop(call.call_id, None)
            self._count(call)

    def _count(self, call: Call) -> None:
        stats = call.peer.stats
        self._metrics.rtc_connections.labels(call.reason or "closed_here").inc()
        for fate, packets in (
            ("received", stats.received_packets),
            ("lost", stats.lost_packets),
            ("recovered", stats.recovered_packets),
            ("concealed", stats.concealed_packets),
            ("late", stats.late_packets),
            ("sent", stats.sent_packets),
        ):
            self._metrics.rtc_packets.labels(fate).inc(packets)


async def described(answering: Awaitable[str]) -> str:
    """A peer's answer, its refusals in the contract's words. Raises Refused."""
    try:
        return await answering
    except BadOffer as error:
        raise Refused(ErrorCode.REQUEST_INVALID, str(error)) from error
    except IceUnavailable as error:
        raise Refused(ErrorCode.SERVER_OVERLOADED, str(error), retry_after_s=RETRY_AFTER_S) from error
    except PeerClosed as error:
        raise Refused(ErrorCode.SESSION_EXPIRED, "The call has ended.") from error
