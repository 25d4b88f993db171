"""A call placed by ``POST /v1/calls`` through a SIP trunk: whoever answers is talked to, and nobody is called twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
from sip_endpoints import exchange
from spoken import said

from agents.models.port import ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from tests.scripted_server import eventually, scripted_engines, served


async def test_a_call_is_placed_and_held(tmp_path: Path) -> None:
    async with exchange(echo=False) as callee:
        trunk = {"name": "out", "host": "127.0.0.1", "port": callee.port()}
        sip = {"enabled": True, "bind": "127.0.0.1", "udp_port": 0, "tcp_port": None, "trunks": [trunk]}
        telephony = {"dial_prefixes": ("+49",), "greeting": "Hello there.", "greeting_after_s": 0}
        async with served(tmp_path, sip=sip, telephony=telephony, latency={"enforce": False}) as server:
            assert server.application.sip is not None
            await server.application.sip.endpoint.listening.wait()
            async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=10) as http:
                wish = {"to": "+4930123456", "carrier": "sip", "request_id": "a-call-once"}
                placed = await http.post("/v1/calls", json=wish)
                assert placed.status_code in (200, 201, 202), placed.text
                again = await http.post("/v1/calls", json=wish)
                assert again.json()["call_id"] == placed.json()["call_id"]
                talk = await callee.talk()
                assert talk.leg.info.callee == "+4930123456"
                await eventually(lambda: talk.loudest > 500, 20)
                await talk.leg.hang_up("agent")

                async def status() -> str:
                    return str((await http.get(f"/v1/calls/{placed.json()['call_id']}")).json()["status"])

                await eventually(lambda: server.application.sip.endpoint.calls == 0, 20)  # type: ignore[union-attr]
                assert await status() in ("active", "ended")
        assert len(callee.talks) == 1, "nobody is called twice"


async def test_the_agent_presses_keys_in_a_menu(tmp_path: Path) -> None:
    asks = ScriptedReply("", tools=(ToolRequest("c1", "send_digits", '{"digits": "2w#"}'),))
    model = ScriptedModel(asks, ScriptedReply("Two."), profile=ModelProfile("scripted", "tools", tools=True))
    async with exchange(echo=False) as callee:
        trunk = {"name": "out", "host": "127.0.0.1", "port": callee.port()}
        sip = {"enabled": True, "bind": "127.0.0.1", "udp_port": 0, "tcp_port": None, "trunks": [trunk]}
        telephony = {"dial_prefixes": ("+49",), "greeting": "Hello there.", "greeting_after_s": 0}
        options: dict[str, Any] = {"sip": sip, "telephony": telephony, "latency": {"enforce": False}}
        async with served(tmp_path, scripted_engines(model), **options) as server:
            assert server.application.sip is not None
            await server.application.sip.endpoint.listening.wait()
            async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=10) as http:
                wish = {"to": "+4930123456", "carrier": "sip", "request_id": "a-menu"}
                await http.post("/v1/calls", json=wish)
            talk = await callee.talk()
            await eventually(lambda: talk.loudest > 500, 20)
            words = said("goforward")
            for at in range(0, len(words), 1_600):
                talk.leg.play(words[at : at + 1_600], 16_000)
                await anyio.sleep(0.1)  # the pace of speech
            await eventually(lambda: talk.digits == "2#", 30)
            await talk.leg.hang_up("agent")
            await eventually(lambda: server.application.sip.endpoint.calls == 0, 20)  # type: ignore[union-attr]
