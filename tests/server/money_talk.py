"""A server with budgets, and whoever talks to it: for tests of money in conversations."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from websockets.asyncio.client import ClientConnection

from tests.scripted_server import ScriptedEngines, Served, served


def limits(*given: tuple[str, str, str, str]) -> list[dict[str, str]]:
    names = ("scope", "period", "measure", "amount")
    return [dict(zip(names, each, strict=True)) for each in given]


@asynccontextmanager
async def budgeted(
    tmp_path: Path, engines: ScriptedEngines | None = None, **budgets: Any
) -> AsyncGenerator[tuple[Served, httpx.AsyncClient]]:
    async with (
        served(tmp_path, engines, budgets=budgets) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http,
    ):
        yield server, http


async def ask(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await http.post("/v1/chat", json={"prompt": "hi", **more})


async def used(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await http.get("/v1/budgets")).json()["budgets"]


class Chat:
    """The chat socket, from the client's side."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.seen: list[dict[str, Any]] = []

    async def say(self, prompt: str) -> None:
        await self._socket.send(json.dumps({"type": "chat.start", "prompt": prompt}))

    async def send(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))

    async def until(self, kind: str) -> dict[str, Any]:
        with anyio.fail_after(20):
            while True:
                message = json.loads(await self._socket.recv())
                self.seen.append(message)
                if message["type"] == kind:
                    return message

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.seen if message["type"] == kind]
