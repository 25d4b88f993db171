"""A Chat Completions server on the loopback interface that misbehaves on request.

Speaks real HTTP and server-sent events to the genuine SDK. Each request is answered by the next ``Script``; a step is
bytes to send, or an event to wait for (a stall the test controls).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc


def chunk(text: Any = None, **fields: Any) -> bytes:
    """One streamed chunk; ``fields`` overwrite those of its choice."""
    choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": None, **fields}
    return event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def event(body: Any) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


def usage(prompt: int = 11, cached: int = 4, completion: int = 3) -> bytes:
    report: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    report["prompt_tokens_details"] = {"cached_tokens": cached}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return event({**head, "choices": [], "usage": report})


DONE = b"data: [DONE]\n\n"
STOP = chunk(finish_reason="stop", delta={})


@dataclass
class Script:
    """How one request is answered. ``cut`` drops the connection after the last step, without ending the body;
    ``silent`` drops it without an answer."""

    steps: tuple[bytes | anyio.Event, ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    before_headers: anyio.Event | None = None
    cut: bool = False
    silent: bool = False


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    client_gone: anyio.Event


class FakeChatServer:
    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.requests: list[Request] = []
        self.port = 0
        self.reached = anyio.Event()
        """A request has come."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answer(self, *steps: bytes | anyio.Event, **fields: Any) -> Script:
        self.scripts.append(Script(steps, **fields))
        return self.scripts[-1]

    def refuse(self, status: int, code: str | None = None, param: str | None = None, **headers: str) -> None:
        error = {"message": "sk-secret said no", "type": "t", "code": code, "param": param}
        self.answer(
            json.dumps({"error": error}).encode(),
            status=status,
            headers={"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}},
        )

    async def handle(self, stream: anyio.abc.SocketStream) -> None:
        async with stream:
            with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while True:
                    request = await self._read(stream)
                    self.requests.append(request)
                    self.reached.set()
                    script = self.scripts.pop(0)
                    if script.silent:
                        return
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._watch, stream, request)
                        await self._send(stream, script)
                        group.cancel_scope.cancel()
                    if script.cut:
                        return

    async def _watch(self, stream: anyio.abc.SocketStream, request: Request) -> None:
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            request.client_gone.set()

    async def _read(self, stream: anyio.abc.SocketStream) -> Request:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += await stream.receive()
        return Request(first.split()[1], headers, json.loads(body), anyio.Event())

    async def _send(self, stream: anyio.abc.SocketStream, script: Script) -> None:
        if script.before_headers is not None:
            await script.before_headers.wait()
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **script.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await stream.send(f"HTTP/1.1 {script.status} X\r\n{head}\r\n".encode())
        for step in script.steps:
            if isinstance(step, anyio.Event):
                await step.wait()
            else:
                await stream.send(f"{len(step):x}\r\n".encode() + step + b"\r\n")
        if not script.cut:
            await stream.send(b"0\r\n\r\n")


@contextlib.asynccontextmanager
async def running_server() -> AsyncGenerator[FakeChatServer]:
    """The server, in a task of its own: a fixture is entered and left by different tasks."""
    server = FakeChatServer()
    ready, over = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with listener, anyio.create_task_group() as group:
            server.port = listener.extra(anyio.abc.SocketAttribute.local_port)
            group.start_soon(listener.serve, server.handle)
            ready.set()
            await over.wait()
            group.cancel_scope.cancel()

    task = asyncio.create_task(serve())  # noqa: TID251
    await ready.wait()
    try:
        yield server
    finally:
        over.set()
        await task
