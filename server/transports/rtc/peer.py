"""One WebRTC peer, answering side: its life from the first offer to the last socket freed.

Binds the parts: negotiation, link over ICE, encryption, media, channels. One task of the hub's group is its life, and
ends with everything of the peer freed, whatever happened. Tells its listener, and knows nothing of what that does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from audio.formats import Samples
from server.transports.rtc.channel import ChannelDesk
from server.transports.rtc.clock import MediaClock, now_ms
from server.transports.rtc.ice import IceConnection
from server.transports.rtc.link import Link
from server.transports.rtc.media import Media
from server.transports.rtc.negotiation import Negotiation
from server.transports.rtc.offer import parse_offer
from server.transports.rtc.port import CloseReason, PeerClosed, PeerListener, PeerOptions, PeerState, PeerStats
from server.transports.rtc.rtcp import RtcpDesk
from server.transports.rtc.secure import HandshakeFailed, Identity, SecureTransport

_log: Final = logging.getLogger(__name__)

_WATCH_MS: Final = 250.0


@dataclass(frozen=True, slots=True)
class PeerServices:
    """What the peers of a process share. ``spawn`` starts a task that the hub owns."""

    options: PeerOptions
    identity: Identity
    clock: MediaClock
    spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


class RtcPeer:
    """``port.Peer``. Made by the hub; does nothing until ``answer``."""

    def __init__(self, services: PeerServices, listener: PeerListener) -> None:
        self._services = services
        self._listener = listener
        self._options = services.options
        self._link = Link(self._on_media, lambda: self._end("connection_lost"))
        self._negotiation: Negotiation | None = None
        self._secure: SecureTransport | None = None
        self._media: Media | None = None
        self._channels: ChannelDesk | None = None
        self._state = PeerState.CONNECTING
        self._reason: CloseReason | None = None
        self._answered = False
        self._scope = anyio.CancelScope()
        self._tasks: TaskGroup | None = None
        self._freed = anyio.Event()
        self._watch = _Watch()

    # What a session calls.

    @property
    def state(self) -> PeerState:
        return self._state

    @property
    def stats(self) -> PeerStats:
        return PeerStats() if self._media is None else self._media.stats()

    @property
    def queued_ms(self) -> float:
        return 0.0 if self._media is None else self._media.outbound.queue.queued_ms

    @property
    def played_samples(self) -> int:
        return 0 if self._media is None else self._media.outbound.queue.played_samples

    def play(self, samples: Samples, rate_hz: int) -> int:
        if self._media is None or self._reason is not None:
            return 0
        return self._media.outbound.queue.play(samples, rate_hz)

    def clear(self) -> int:
        return 0 if self._media is None else self._media.outbound.queue.clear()

    async def answer(self, offer: str) -> str:
        if self._answered or self._reason is not None:
            raise PeerClosed("a peer answers one first offer")
        parsed = parse_offer(offer)
        self._answered = True
        try:
            certificate = await self._services.identity.certificate(now_ms() / 1_000)
            negotiation = self._negotiation = Negotiation(parsed, certificate, self._link, self._options)
            connection = await negotiation.first_connection()
            self._equip(negotiation)
            answer = negotiation.answer(parsed)
            self._services.spawn(lambda: self._run(connection))
        except BaseException:
            await self._free()
            self._finish("connect_failed")
            raise
        return answer

    async def renegotiate(self, offer: str) -> str:
        negotiation = self._negotiation
        if negotiation is None or self._reason is not None:
            raise PeerClosed("the peer is not connected")
        parsed, connection = await negotiation.later_connection(offer)
        if connection is not None:
            if self._tasks is None or self._reason is not None:
                await self._link.give_up(connection)
                raise PeerClosed("the peer is not connected")
            self._tasks.start_soon(self._restart, connection)
        if self._media is not None and parsed.audio is not None:
            self._media.redirect(parsed.audio, now_ms())
        return negotiation.answer(parsed)

    async def add_candidates(self, fragment: str) -> None:
        if self._negotiation is not None and self._reason is None:
            await self._negotiation.add_candidates(fragment)

    async def wait_closed(self) -> CloseReason:
        await self._freed.wait()
        assert self._reason is not None
        return self._reason

    async def close(self) -> None:
        if not self._answered and self._reason is None:
            self._finish("closed_here")
        self._end("closed_here")
        await self._freed.wait()

    # What the clock calls.

    async def tick(self, at_ms: float) -> None:
        assert self._secure is not None
        if self._media is not None:
            due = self._media.tick(at_ms)
            if due is not None:
                try:
                    for packet in due.rtp:
                        await self._secure.send_rtp(packet)
                    if due.rtcp is not None:
                        await self._secure.send_rtcp(due.rtcp)
                except ConnectionError:  # between two paths: lost, like any packet
                    pass
        if self._watch.due(at_ms):
            self._look(self._watch.silent_ms(self._link.heard, at_ms))

    # Its life.

    def _equip(self, negotiation: Negotiation) -> None:
        """The parts that what was agreed needs."""
        options, offer, listener = self._options, negotiation.offer, self._listener
        self._secure = SecureTransport(self._link, negotiation.certificate, negotiation.setup, self._said_goodbye)
        if offer.audio is not None:
            rtcp = RtcpDesk(negotiation.ssrc, negotiation.cname)
            self._media = Media(offer.audio, options, rtcp, self._on_samples)
        if offer.data is not None:
            tell = partial(self._tell, listener.on_channel)
            self._channels = ChannelDesk(self._secure, offer.data, options, tell)

    async def _run(self, connection: IceConnection) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as self._tasks:
                    await self._live(connection)
        except Exception:  # noqa: BLE001 - one peer's fault ends that peer only
            _log.exception("a WebRTC peer failed")
            self._end("internal_error")
        finally:
            self._end("closed_here")  # the server stops
            await self._free()
            self._finish(self._reason or "internal_error")

    async def _live(self, connection: IceConnection) -> None:
        assert self._secure is not None
        assert self._negotiation is not None
        try:
            with anyio.fail_after(self._options.connect_limit_s):
                await self._connect_first(connection)
                await self._secure.start(self._negotiation.offer.transport.fingerprints)
                if self._channels is not None:
                    await self._channels.start()
        except TimeoutError:
            self._end("connect_timeout")
            return
        except (ConnectionError, HandshakeFailed):
            self._end("connect_failed")
            return
        started_ms = now_ms()
        self._watch.silent_ms(self._link.heard, started_ms)
        if self._media is not None:
            self._media.start(started_ms)
        self._services.clock.add(self)
        self._set_state(PeerState.CONNECTED)
        await anyio.sleep_forever()

    async def _connect_first(self, connection: IceConnection) -> None:
        try:
            await connection.connect()
        except ConnectionError:
            if self._link.stands_on(connection):
                raise  # else a restart has overtaken it, and connected

    async def _restart(self, connection: IceConnection) -> None:
        """Connect a new path; the old one serves until then, and for good where this fails."""
        try:
            with anyio.fail_after(self._options.connect_limit_s):
                await connection.connect()
        except (ConnectionError, TimeoutError):
            await self._link.give_up(connection)
        else:
            await self._link.switch(connection)

    async def _free(self) -> None:
        self._services.clock.remove(self)
        with anyio.move_on_after(self._options.close_limit_s, shield=True) as limit:
            if self._channels is not None:
                await self._channels.stop()
            if self._secure is not None:
                await self._secure.stop()
            await self._link.close()
        if limit.cancelled_caught:
            _log.warning("a WebRTC peer did not close in time")

    def _end(self, reason: CloseReason) -> None:
        """Let life end, for the first reason given."""
        if self._reason is None:
            self._reason = reason
            self._scope.cancel()

    def _finish(self, reason: CloseReason) -> None:
        self._reason = self._reason or reason
        self._set_state(PeerState.CLOSED)
        self._freed.set()

    # What the parts call.

    def _on_media(self, data: bytes) -> None:
        if self._secure is None or self._media is None:
            return
        plain = self._secure.decrypt(data)
        if plain is not None:
            self._media.receive(*plain, now_ms())

    def _said_goodbye(self) -> None:
        self._end("closed_by_peer")

    def _on_samples(self, samples: Samples) -> None:
        self._tell(self._listener.on_audio, samples)

    def _look(self, silent_ms: float) -> None:
        """Nothing was heard for a while, or something was again."""
        if silent_ms >= self._options.lost_after_s * 1_000:
            self._end("connection_lost")
        elif silent_ms >= self._options.disconnected_after_s * 1_000:
            self._set_state(PeerState.DISCONNECTED)
        else:
            self._set_state(PeerState.CONNECTED)

    def _set_state(self, state: PeerState) -> None:
        if state is not self._state:
            self._state = state
            self._tell(self._listener.on_state, state, self._reason if state is PeerState.CLOSED else None)

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:  # noqa: BLE001 - called from where sockets are read, which must go on for others
            _log.exception("a WebRTC peer's listener failed")
            self._end("internal_error")


class _Watch:
    """How long ago the last datagram came, looked at a few times a second."""

    def __init__(self) -> None:
        self._due_ms = 0.0
        self._heard = -1
        self._heard_ms = 0.0

    def due(self, at_ms: float) -> bool:
        if at_ms < self._due_ms:
            return False
        self._due_ms = at_ms + _WATCH_MS
        return True

    def silent_ms(self, heard: int, at_ms: float) -> float:
        if heard != self._heard:
            self._heard, self._heard_ms = heard, at_ms
        return at_ms - self._heard_ms
