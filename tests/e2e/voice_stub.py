"""A scripted stand-in for the server, for tests of the browser client: serves the page, plays one side of a call.

It owns no behaviour of its own: a test hands it a script that says what the server sends and when, and reads what the
page sent. It speaks the vocabulary of ``docs/contracts`` and the same headers the real server sends with the page.
Over WebRTC it answers only where a test asks for it (``rtc_stub.py``); without, the page finds the socket.
"""

from __future__ import annotations

import json
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio
import numpy as np
import numpy.typing as npt
import uvicorn
from anyio.abc import TaskGroup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.routes.page import PAGE_HEADERS

WEB_DEMO = Path(__file__).parents[2] / "web-demo"
OUTPUT_HZ = 24_000
LIMIT_S = 15.0

Message = dict[str, Any]
Pcm = npt.NDArray[np.int16]
_Found = TypeVar("_Found")


def speechlike(ms: int, rate_hz: int = OUTPUT_HZ, pitch_hz: float = 180.0) -> Pcm:
    """A voiced buzz in syllables of 200 ms: energy where speech has it, nothing recorded from anybody."""
    t = np.arange(ms * rate_hz // 1000) / rate_hz
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 9))
    syllables = np.sin(np.pi * 5 * t) ** 2
    return np.asarray(0.3 * 32767 * buzz * syllables / 2, dtype=np.int16)


class StubCall(ABC):
    """One connection: what the page said on it, and the means to answer."""

    def __init__(self, stub: VoiceStub) -> None:
        self.stub = stub
        self._news = anyio.Condition()
        self._expected_from = 0
        self.messages: list[Message] = []
        self.frames: list[bytes] = []
        self.closed = anyio.Event()

    async def took(self, incoming: str | bytes | None) -> None:
        """The page sent a message or 20 ms of sound; ``None``: it has gone."""
        if incoming is None:
            self.closed.set()
        elif isinstance(incoming, bytes):
            self.frames.append(incoming)
        else:
            self.messages.append(json.loads(incoming))
        async with self._news:
            self._news.notify_all()

    async def _until(self, look: Callable[[], _Found | None], what: str) -> _Found:
        with anyio.move_on_after(LIMIT_S):
            async with self._news:
                while (found := look()) is None and not self.closed.is_set():
                    await self._news.wait()
            if found is not None:
                return found
        said = [message["type"] for message in self.messages]
        raise AssertionError(f"the page did not {what}; it said {said} and {len(self.frames)} frames")

    async def expect(self, kind: str) -> Message:
        """The next message of this type, after the last one expected."""

        def look() -> Message | None:
            for index in range(self._expected_from, len(self.messages)):
                if self.messages[index]["type"] == kind:
                    self._expected_from = index + 1
                    return self.messages[index]
            return None

        return await self._until(look, f"send {kind}")

    async def expect_frames(self, count: int) -> None:
        """Waits until this many more frames of 20 ms have come."""
        wanted = len(self.frames) + count
        await self._until(lambda: True if len(self.frames) >= wanted else None, f"send {count} frames")

    async def send(self, kind: str, request_id: str = "session", **fields: Any) -> None:
        """Sends an event; counts it."""
        self.stub.event_id += 1
        message = {"type": kind, "event_id": self.stub.event_id, "request_id": request_id, "timestamp_ms": 0}
        await self.send_text(json.dumps(message | fields))

    @abstractmethod
    async def send_text(self, text: str) -> None:
        """Sends a message as it is."""

    @abstractmethod
    async def send_audio(self, turn_id: str, pcm: Pcm, start_ms: int = 0) -> None:
        """Sends the agent's voice (at ``OUTPUT_HZ``), all at once where the transport buffers it."""

    @abstractmethod
    async def heard(self, turn_id: str, ms: int) -> None:
        """Waits until this much of the turn's voice has been played."""

    @abstractmethod
    async def start(self, **fields: Any) -> Message:
        """Answers ``voice.start``."""

    async def _started(self, audio: Message, fields: Message) -> Message:
        asked = await self.expect("voice.start")
        defaults: Message = {
            "session_id": "s-1",
            "agent_id": "guide",
            "capabilities": {"vad": "silero", "stt": "whisper-tiny.en", "llm": "smollm2-135m", "tts": "piper-joe"},
        }
        await self.send("session.started", **(defaults | audio | fields))
        return asked

    @abstractmethod
    async def drop(self, code: int = 1011) -> None:
        """Ends the connection: as a failing server would, unless ``code`` says otherwise."""


class SocketCall(StubCall):
    """A connection over the voice socket."""

    def __init__(self, websocket: WebSocket, stub: VoiceStub) -> None:
        super().__init__(stub)
        self._websocket = websocket

    async def read(self) -> None:
        """Takes in everything until the page hangs up."""
        with suppress(WebSocketDisconnect, RuntimeError):
            while (incoming := await self._websocket.receive())["type"] != "websocket.disconnect":
                await self.took(incoming["text"] if incoming.get("bytes") is None else incoming["bytes"])
        await self.took(None)

    async def send_text(self, text: str) -> None:
        await self._websocket.send_text(text)

    async def send_audio(self, turn_id: str, pcm: Pcm, start_ms: int = 0) -> None:
        """Sends a header and then binary frames of 40 ms; each frame counts as an event."""
        await self.send("voice.audio", turn_id, audio_ms=0, start_ms=start_ms)
        step = OUTPUT_HZ * 40 // 1000
        for at in range(0, len(pcm), step):
            self.stub.event_id += 1
            await self._websocket.send_bytes(pcm[at : at + step].tobytes())

    async def heard(self, turn_id: str, ms: int) -> None:
        while (played := await self.expect("voice.played"))["audio_ms"] < ms or played["request_id"] != turn_id:
            pass

    async def start(self, **fields: Any) -> Message:
        formats: Message = {
            "input": {"codec": "pcm16", "sample_rate": 16_000},
            "output": {"codec": "pcm16", "sample_rate": OUTPUT_HZ},
            "binary": True,
        }
        return await self._started(formats, fields)

    async def drop(self, code: int = 1011) -> None:
        await self._websocket.close(code)
        await self.closed.wait()


Script = Callable[[StubCall], Awaitable[None]]


@dataclass
class VoiceStub:
    """The server as a whole. ``script`` runs for each connection; ``refuses`` turns sockets away."""

    script: Script
    refuses: bool = False
    written_answer: str | None = None
    calls: list[StubCall] = field(default_factory=list[StubCall])
    refused: int = 0
    asked: list[Message] = field(default_factory=list[Message])
    event_id: int = 0
    failures: list[Exception] = field(default_factory=list[Exception])
    url: str = ""

    async def voice(self, websocket: WebSocket) -> None:
        if self.refuses:
            self.refused += 1
            await websocket.close()
            return
        await websocket.accept()
        call = SocketCall(websocket, self)
        self.calls.append(call)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(call.read)
                await self.script(call)
                await call.closed.wait()
        except* WebSocketDisconnect:
            pass
        except* Exception as group_error:  # noqa: BLE001 - told to the test when it ends
            self.failures.extend(group_error.exceptions)
            with suppress(WebSocketDisconnect):
                await websocket.close(1011)

    async def chat(self, request: Request) -> Response:
        question = await request.json()
        self.asked.append(question)
        if self.written_answer is None:
            error = {"code": "server.overloaded", "message": "The server is full.", "retryable": True}
            return JSONResponse({"request_id": "r", "error": error}, status_code=503)
        return StreamingResponse(self._written(question), media_type="text/event-stream")

    async def _written(self, question: Message) -> AsyncIterator[str]:
        words = (self.written_answer or "").split(" ")
        for index, word in enumerate(words):
            token = {"event_id": index + 1, "request_id": "x", "timestamp_ms": 0, "text": f"{word} "}
            yield f"event: chat.token\ndata: {json.dumps(token | {'type': 'chat.token'})}\n\n"
        usage = {"in_tokens": 9, "out_tokens": len(words), "tool_calls": 0, "audio_in_s": 0.0, "audio_out_s": 0.0}
        done = {"type": "chat.complete", "event_id": 99, "request_id": "x", "timestamp_ms": 0}
        complete = done | {"text": self.written_answer, "interrupted": False, "usage": usage}
        yield f"event: chat.complete\ndata: {json.dumps(complete)}\n\n"

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[VoiceStub]:
        """Listens on a free port while the block runs; a script that failed fails the block."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            async with self._listen(listener):
                yield self
        if self.failures:
            raise self.failures[0]

    def rtc_routes(self, tasks: TaskGroup) -> list[Route]:
        """None: the stand-in speaks over the socket alone."""
        return []

    async def hang_up(self) -> None:
        """Ends every connection the page has left without a word; sockets end with the server."""

    @asynccontextmanager
    async def _listen(self, listener: socket.socket) -> AsyncGenerator[None]:
        self.url = f"http://localhost:{listener.getsockname()[1]}/"
        async with anyio.create_task_group() as group:
            routes = [
                WebSocketRoute("/v1/voice/ws", self.voice),
                Route("/v1/chat/stream", self.chat, methods=["POST"]),
                *self.rtc_routes(group),
                Mount("/", _Page(directory=WEB_DEMO, html=True)),
            ]
            config = uvicorn.Config(
                Starlette(routes=routes),
                log_level="warning",
                ws="websockets-sansio",
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
            server = uvicorn.Server(config)
            group.start_soon(server.serve, [listener])
            try:
                yield
            finally:
                server.should_exit = True
                await self.hang_up()


class _Page(StaticFiles):
    """The page's files, under the server's policy."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS)
        return response
