"""The host lends every session its tenant's allowance for drafts, counts what turns use, and tells who is without."""

from __future__ import annotations

from pathlib import Path

import httpx
from voice_socket import joined

from agents.core.draft_allowance import START_TOKENS
from tests.scripted_server import Served, eventually, served


async def paused(server: Served) -> float:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        lines = (await http.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith("convergio_speculation_paused ")).split()[1])


async def test_what_a_tenants_sessions_answer_lets_it_draft_again_and_nobody_else(tmp_path: Path) -> None:
    async with served(tmp_path, latency={"waste_share": 1.0}) as server:
        drafts = server.application.host.drafts
        assert await paused(server) == 0
        ours, other = drafts.of("local"), drafts.of("other")
        ours.spent(START_TOKENS, 0)
        other.spent(START_TOKENS, 0)
        assert await paused(server) == 2
        async with joined(server.chat_url) as client:
            await client.say("chat.start", prompt="hello")
            await client.until("chat.complete")
            await eventually(ours.may_draft)
        assert not other.may_draft()
        assert await paused(server) == 1


async def test_the_share_is_the_operators(tmp_path: Path) -> None:
    async with served(tmp_path, latency={"waste_share": 0}) as server:
        assert not server.application.host.drafts.of("local").may_draft()
