"""Room for conversations, and the bursts that are counted of them, on a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e.voice_socket import Client
from websockets.asyncio.client import connect

from tests.scripted_server import eventually, served


@pytest.mark.parametrize("where", ["bursts", "limits"])
async def test_a_conversation_there_is_no_room_for_uses_up_none_of_a_minute_s(tmp_path: Path, where: str) -> None:
    bursts, limits = {"sessions_per_minute": 2}, dict[str, int]()
    if where == "bursts":
        bursts["sessions_per_user"] = 1
    else:
        limits["max_sessions_per_key"] = 1
    async with served(tmp_path, budgets={"bursts": bursts}, limits=limits) as server:
        async with connect(server.chat_url, proxy=None) as first:
            client = Client(first)
            await client.say("chat.start", prompt="hi")
            await client.until("chat.complete")
            for _ in range(2):
                async with connect(server.chat_url, proxy=None) as another:
                    refused = Client(another)
                    await refused.say("chat.start", prompt="hi")
                    error = await refused.until("error")
                    assert error["message"] == "At most 1 conversations at once are allowed for this user."
        await eventually(lambda: not len(server.application.host.registry))
        async with connect(server.chat_url, proxy=None) as second:
            client = Client(second)
            await client.say("chat.start", prompt="hi")
            await client.until("chat.complete")
