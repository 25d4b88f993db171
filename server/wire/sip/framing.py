"""A stream of bytes (TCP, TLS) to SIP messages, by Content-Length (RFC 3261 section 18.3).

Bounded: a peer whose headers do not end or whose body is too long is at fault. Driven by a connection.
"""

from __future__ import annotations

from typing import Final

from server.wire.sip.errors import SipSyntaxError
from server.wire.sip.message import (
    MAX_HEAD_BYTES,
    MAX_MESSAGE_BYTES,
    Message,
    content_length,
    parse_head,
    with_body,
)

PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"
"""Keepalives (RFC 5626 section 3.5.1)."""


class StreamFramer:
    """One connection's incoming bytes.

    Attributes:
        pings: keepalives that came and are to be answered with ``PONG``; whoever does so counts them down.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: Message | None = None
        self._body_bytes = 0
        self.pings = 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages these bytes complete. Raises SipSyntaxError: the stream cannot be followed any further."""
        self._buffer += data
        messages: list[Message] = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> Message | None:
        if self._waiting is None and not self._read_head():
            return None
        if self._waiting is None or len(self._buffer) < self._body_bytes:
            return None
        body = bytes(self._buffer[: self._body_bytes])
        del self._buffer[: self._body_bytes]
        message, self._waiting = with_body(self._waiting, body), None
        return message

    def _read_head(self) -> bool:
        self._skip_keepalives()
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise SipSyntaxError("the headers do not end")
            return False
        head = parse_head(bytes(self._buffer[:end]))
        length = content_length(head.headers)
        if length is None:
            raise SipSyntaxError("a message in a stream needs Content-Length")
        if length + end > MAX_MESSAGE_BYTES:
            raise SipSyntaxError("the message is too long")
        del self._buffer[: end + 4]
        self._waiting, self._body_bytes = head, length
        return True

    def _skip_keepalives(self) -> None:
        while self._buffer.startswith(PING):
            del self._buffer[: len(PING)]
            self.pings += 1
        # Half a keepalive may be on its way; anything else behind a line break is a message.
        while self._buffer.startswith(PONG) and len(self._buffer) > 2 and self._buffer[2] != PING[2]:
            del self._buffer[:2]
