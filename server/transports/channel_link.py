"""A WebRTC data channel as the connection of a conversation: messages in, messages out, an end.

Bounded both ways. A data channel knows no close codes: why a conversation ends is said in its last message.
"""

from __future__ import annotations

import time
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from server.transports.connection import Disconnected, Frame
from server.transports.rtc.port import Channel, ChannelClosed

MAX_WAITING: Final = 512
"""Messages that came and were not read yet; a client that sends more is cut off."""
GONE: Final = 1006


class ChannelLink:
    """``server.transports.connection.Duplex`` over a data channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._open = True
        self._code = GONE
        send, self._receive = anyio.create_memory_object_stream[Frame](MAX_WAITING)
        self._send: MemoryObjectSendStream[Frame] = send
        self.sending_since_s: float | None = None
        channel.on_message = self._on_message
        channel.on_close = lambda: self.cut(GONE)

    @property
    def open(self) -> bool:
        """Whether messages may still be sent."""
        return self._open

    async def receive(self) -> Frame:
        """The next message. Raises Disconnected."""
        try:
            return await self._receive.receive()
        except anyio.EndOfStream as error:
            raise Disconnected(self._code) from error

    async def send(self, frame: Frame) -> None:
        """Send one message; waits while the client takes none. Raises Disconnected."""
        if isinstance(frame, bytes):
            return  # audio of a conversation that was held over a socket before: here it has a track
        if not self._open:
            raise Disconnected(GONE)
        self.sending_since_s = time.monotonic()
        try:
            await self._channel.send(frame)
        except (ChannelClosed, ValueError) as error:
            self.cut(GONE)
            raise Disconnected(GONE) from error
        finally:
            self.sending_since_s = None

    async def close(self, code: int, reason: str = "") -> None:
        """End the connection; the call lets what was said leave first. Harmless when closed."""
        self.cut(code, reason)

    def cut(self, code: int, reason: str = "") -> None:
        """End the connection: the reader ends with ``code``."""
        del reason
        if self._open:
            self._open = False
            self._code = code
            self._send.close()

    def _on_message(self, message: Frame) -> None:
        try:
            self._send.send_nowait(message)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.cut(GONE)
