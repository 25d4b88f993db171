"""A WebRTC data channel as the connection of a conversation: messages in, messages out, an end.

Bounded both ways. A data channel knows no close codes: why a conversation ends is said in its last message.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

import anyio

from server.contracts.errors import ERRORS, ErrorCode
from server.transports.connection import Disconnected, Frame
from server.transports.rtc.port import Channel, ChannelClosed
from server.wire.voice_json import is_audio

MAX_WAITING: Final = 2_048
"""Messages that came and were not read yet; a client that sends more is told so, and ended."""
GONE: Final = 1006
TOO_FAST: Final = ERRORS[ErrorCode.RATE_LIMITED].close_code


class ChannelLink:
    """``server.transports.connection.Duplex`` over a data channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._open = True
        self._inbox: deque[Frame] = deque()
        self._arrived = anyio.Event()
        self._ending: int | None = None
        """The code with which reading ends, once what has come is read."""
        self.sending_since_s: float | None = None
        channel.on_message = self._on_message
        channel.on_close = lambda: self.cut(GONE)

    @property
    def open(self) -> bool:
        """Whether messages may still be sent."""
        return self._open

    async def receive(self) -> Frame:
        """The next message. Raises Disconnected."""
        while not self._inbox:
            if self._ending is not None:
                raise Disconnected(self._ending)
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._inbox.popleft()

    async def send(self, frame: Frame) -> None:
        """Send one message; waits while the client takes none. Raises Disconnected."""
        if is_audio(frame):
            return  # of a conversation that was held over a socket before: here it has a track
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
        self._open = False
        self._end_reading(code)

    def _on_message(self, message: Frame) -> None:
        if self._ending is not None:
            return
        if len(self._inbox) >= MAX_WAITING:
            self._inbox.clear()
            self._end_reading(TOO_FAST)  # nothing more is read; what is to be said about it still is
            return
        self._inbox.append(message)
        self._arrived.set()

    def _end_reading(self, code: int) -> None:
        if self._ending is None:
            self._ending = code
            self._arrived.set()


class NoChannel:
    """``Duplex`` of a connection that carries audio and no messages: nothing is said, until it is over."""

    def __init__(self) -> None:
        self._over = anyio.Event()
        self._code = GONE
        self.sending_since_s: float | None = None

    @property
    def open(self) -> bool:
        """Whether the connection stands."""
        return not self._over.is_set()

    async def receive(self) -> Frame:
        """Returns never; raises Disconnected once it is over."""
        await self._over.wait()
        raise Disconnected(self._code)

    async def send(self, frame: Frame) -> None:
        """Nobody hears it."""

    async def close(self, code: int, reason: str = "") -> None:
        """End the connection."""
        self.cut(code, reason)

    def cut(self, code: int, reason: str = "") -> None:
        """End the connection: the reader ends with ``code``."""
        del reason
        if self.open:
            self._code = code
            self._over.set()
