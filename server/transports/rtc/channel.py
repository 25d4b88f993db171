"""Data channels of one peer: aiortc's SCTP, with bounds (RFC 8831, RFC 8832).

Owns what may wait in each direction and how long a message may be. Knows nothing of what messages say. A peer makes the
``ChannelDesk``; whoever the channel is handed to sends and listens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import anyio
from aiortc import RTCDataChannel
from aiortc.rtcsctptransport import RTCSctpCapabilities

from server.transports.rtc.aiortc_seam import Association, Resending
from server.transports.rtc.description import SCTP_PORT
from server.transports.rtc.offer import OfferedData
from server.transports.rtc.port import ChannelClosed, PeerOptions
from server.transports.rtc.secure import SecureTransport

_MAX_KEPT: Final = 64
"""Messages kept for a channel that nobody listens to yet; more close it."""

_RESENDING: Final = Resending(initial_s=0.5, min_s=0.4, max_s=2.0)
"""As browsers have it: a lost message holds up those behind it. Above the 200 ms an acknowledgement may be delayed; and
soon again after the path was dead."""

Message = str | bytes


class DataChannel:
    """``port.Channel`` over an ``RTCDataChannel``. ``max_send_bytes`` is what the other side takes."""

    def __init__(self, channel: RTCDataChannel, options: PeerOptions, max_send_bytes: int) -> None:
        self._channel: Any = channel  # its event methods carry no types
        self._options = options
        self._max_send_bytes = max_send_bytes
        self._kept: deque[Message] = deque()
        self._listener: Callable[[Message], None] | None = None
        self._turn = anyio.Lock()
        self._room = anyio.Event()
        self.on_close: Callable[[], None] | None = None
        channel.bufferedAmountLowThreshold = options.send_buffer_bytes // 2
        self._channel.on("message", self._received)
        self._channel.on("bufferedamountlow", self._has_room)
        self._channel.on("close", self._closed)

    @property
    def label(self) -> str:
        return cast("str", self._channel.label)

    @property
    def protocol(self) -> str:
        return cast("str", self._channel.protocol)

    @property
    def open(self) -> bool:
        return bool(self._channel.readyState == "open")

    @property
    def on_message(self) -> Callable[[Message], None] | None:
        return self._listener

    @on_message.setter
    def on_message(self, listener: Callable[[Message], None] | None) -> None:
        self._listener = listener
        while listener is not None and self._kept:
            listener(self._kept.popleft())

    async def send(self, message: Message) -> None:
        """One message, after those before it. Raises ChannelClosed, ValueError for one that is too long."""
        size = len(message.encode()) if isinstance(message, str) else len(message)
        if size > self._max_send_bytes:
            raise ValueError(f"a message of {size} bytes is too long: the other side takes {self._max_send_bytes}")
        with anyio.move_on_after(self._options.send_limit_s):
            async with self._turn:
                while self.open and not self._fits(size):
                    self._room = anyio.Event()
                    await self._room.wait()
                if not self.open:
                    raise ChannelClosed("the data channel is closed")
                self._channel.send(message)
                return
        raise ChannelClosed("the other side does not take messages")

    def close(self) -> None:
        if self._channel.readyState not in ("closing", "closed"):
            self._channel.close()

    def _fits(self, size: int) -> bool:
        waiting: int = self._channel.bufferedAmount
        return not waiting or waiting + size <= self._options.send_buffer_bytes

    def _received(self, message: Message) -> None:
        if len(message) > self._options.max_message_bytes or len(self._kept) >= _MAX_KEPT:
            self.close()
        elif self._listener is None:
            self._kept.append(message)
        else:
            self._listener(message)

    def _has_room(self) -> None:
        self._room.set()

    def _closed(self) -> None:
        self._room.set()
        if self.on_close is not None:
            self.on_close()


class ChannelDesk:
    """The SCTP association of a peer, and its channels as they open."""

    def __init__(
        self,
        secure: SecureTransport,
        data: OfferedData,
        options: PeerOptions,
        on_channel: Callable[[DataChannel], None],
    ) -> None:
        self._data = data
        self._options = options
        self._on_channel = on_channel
        self._channels: list[DataChannel] = []
        self._sctp = Association(secure.dtls, SCTP_PORT, _RESENDING)
        cast("Any", self._sctp).on("datachannel", self._opened)

    async def start(self) -> None:
        """Offer the association; to be called as soon as DTLS is connected."""
        await self._sctp.start(RTCSctpCapabilities(self._data.max_message_bytes), self._data.sctp_port)

    async def stop(self) -> None:
        """End the association: every channel closes."""
        await self._sctp.stop()

    def _opened(self, opened: RTCDataChannel) -> None:
        self._channels = [channel for channel in self._channels if channel.open]
        if len(self._channels) >= self._options.max_channels:
            opened.close()
            return
        theirs = self._data.max_message_bytes or self._options.max_message_bytes
        channel = DataChannel(opened, self._options, min(theirs, self._options.max_message_bytes))
        self._channels.append(channel)
        self._on_channel(channel)
