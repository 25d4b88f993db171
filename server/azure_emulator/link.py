"""One accepted WebSocket, with the faults that are in force carried out on it.

Everything a connection sends and every point it passes goes through here, in order. Knows no protocol but the name of
each message's point. Driven by the connections.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, assert_never

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from server.azure_emulator.faults import Fault, FaultBook, Outgoing, Point, Service
from server.azure_emulator.state import ConnectionRecord

GARBAGE: Final[tuple[str | bytes, ...]] = ("this is not a message of the protocol", b"\xff\xfeX-StreamId", b"")
"""No empty line; headers longer than the message; not even a length."""


class LinkClosed(Exception):
    """The connection is over."""


class Link:
    """See the module. ``abort`` resets the TCP connection."""

    def __init__(
        self,
        socket: WebSocket,
        service: Service,
        book: FaultBook,
        record: ConnectionRecord,
        abort: Callable[[], None],
    ) -> None:
        self.record = record
        self._socket = socket
        self._service: Service = service
        self._book = book
        self._abort = abort
        self._passed: Counter[Point] = Counter()
        self._stalled = False
        self._pace = 0.0

    async def receive(self) -> str | bytes:
        """The next message. Raises LinkClosed."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            if self.record.closed is None:
                self.record.closed = int(message.get("code") or 1006)
            raise LinkClosed
        text: str | None = message.get("text")
        frame: str | bytes = text if text is not None else message["bytes"]
        self.record.bytes_in += len(frame)
        return frame

    async def at(self, point: Point) -> None:
        """A point without a message is passed. Raises LinkClosed."""
        await self._strike(point, None)

    async def send(self, outgoing: Outgoing) -> bool:
        """Send, or whatever is to happen instead; whether the client got it. Raises LinkClosed."""
        if self._stalled:
            return False
        frame = await self._strike(outgoing.point, outgoing)
        if frame is None or self._stalled:
            return False
        await self._write(frame)
        self.record.sent[outgoing.point] += 1
        self.record.bytes_out += len(frame)
        if self._pace and outgoing.audio_ms:
            await anyio.sleep(self._pace * outgoing.audio_ms / 1_000)
        return True

    async def close(self, code: int, reason: str) -> None:
        """End the connection. Raises LinkClosed, always."""
        if self.record.closed is None:
            self.record.closed = code
            if self._socket.application_state is WebSocketState.CONNECTED:
                with suppress(RuntimeError, WebSocketDisconnect, OSError):  # the client may be faster
                    await self._socket.close(code, reason)
        raise LinkClosed

    async def _strike(self, point: Point, outgoing: Outgoing | None) -> str | bytes | None:
        """Carry out the point's fault; what is to be sent now, if anything."""
        fault = self._book.take(self._service, point, self._passed[point])
        self._passed[point] += 1
        frame = None if outgoing is None else outgoing.frame
        return frame if fault is None else await self._suffer(fault, frame)

    async def _suffer(self, fault: Fault, frame: str | bytes | None) -> str | bytes | None:
        """What is sent in place of a frame, after what comes before it."""
        match fault.kind:
            case "close" | "abort":
                await self._end(fault)
            case "stall":
                self._stalled = True
            case "drop":
                return None
            case "delay":
                await anyio.sleep(fault.ms / 1_000)
            case "garbage":
                await self._babble()
            case "words":
                return None if frame is None else _with_words(frame, fault.text)
            case "phrase_status":
                return None if frame is None else _with_status(frame, fault.text)
            case "pace":
                self._pace = fault.factor
            case "refuse" | "redirect" | "hang":
                pass  # happen before there is a link
            case _:
                assert_never(fault.kind)
        return frame

    async def _end(self, fault: Fault) -> None:
        if fault.kind == "close":
            await self.close(fault.code, fault.reason)
        self.record.closed = 1006
        self._abort()
        raise LinkClosed

    async def _babble(self) -> None:
        for nonsense in GARBAGE:
            await self._write(nonsense)

    async def _write(self, frame: str | bytes) -> None:
        try:
            if isinstance(frame, str):
                await self._socket.send_text(frame)
            else:
                await self._socket.send_bytes(frame)
        except (RuntimeError, WebSocketDisconnect, OSError) as error:
            raise LinkClosed from error


def _with_words(frame: str | bytes, words: str) -> str | bytes:
    """A ``speech.hypothesis`` that says something else."""
    if isinstance(frame, bytes):
        return frame
    head, _, text = frame.partition("\r\n\r\n")
    return f"{head}\r\n\r\n{json.dumps({**json.loads(text), 'Text': words})}"


def _with_status(frame: str | bytes, status: str) -> str | bytes:
    """A ``speech.phrase`` that says something else."""
    if isinstance(frame, bytes):
        return frame
    head, _, text = frame.partition("\r\n\r\n")
    body: dict[str, Any] = json.loads(text)
    kept = {name: body[name] for name in ("Id", "Offset", "Duration") if name in body}
    return f"{head}\r\n\r\n{json.dumps({**kept, 'RecognitionStatus': status})}"
