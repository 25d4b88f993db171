"""A call placed by ``POST /v1/calls`` through a SIP trunk: whoever answers is talked to, and nobody is called twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from phone_legs import TestLeg
from sip_endpoints import exchange
from spoken import said

from agents.models.port import ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from server.guard import Identity
from server.wire.sip.message import Request, parse_message, response_to
from tests.scripted_server import Served, eventually, scripted_engines, served


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


class Refuses(asyncio.DatagramProtocol):
    """A telephone that answers every call with one status."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.invites = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = parse_message(data)
        if isinstance(message, Request) and message.method == "INVITE":
            self.invites += 1
            self._transport.sendto(response_to(message, self._status, "x", to_tag="t").to_bytes(), addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def placing(tmp_path: Path, port: int, **telephony: Any) -> AsyncGenerator[tuple[Served, httpx.AsyncClient]]:
    trunk = {"name": "out", "host": "127.0.0.1", "port": port}
    sip = {"enabled": True, "bind": "127.0.0.1", "udp_port": 0, "tcp_port": None, "trunks": [trunk]}
    options = {"dial_prefixes": ("+49",), **telephony}
    async with served(tmp_path, sip=sip, telephony=options, latency={"enforce": False}) as server:
        assert server.application.sip is not None
        await server.application.sip.endpoint.listening.wait()
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=10) as http:
            yield server, http


async def settled(http: httpx.AsyncClient, call_id: str) -> str:
    """What became of a call that is no longer being placed."""
    with anyio.fail_after(30):
        while True:
            status = str((await http.get(f"/v1/calls/{call_id}")).json()["status"])
            if status not in ("dialling", "ringing"):
                return status
            await anyio.sleep(0.02)


@pytest.mark.parametrize(("answer", "status"), [(486, "busy"), (600, "busy"), (480, "no_answer"), (603, "failed")])
async def test_why_a_call_was_not_answered_is_on_record(tmp_path: Path, answer: int, status: str) -> None:
    phone = Refuses(answer)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: phone, ("127.0.0.1", 0))
    async with placing(tmp_path, transport.get_extra_info("sockname")[1]) as (_, http):
        placed = await http.post("/v1/calls", json={"to": "+4930123456", "request_id": "one"})
        call_id = placed.json()["call_id"]
        assert await settled(http, call_id) == status
    transport.close()
    assert phone.invites == 1


async def test_nobody_answers_a_call_that_is_placed(tmp_path: Path) -> None:
    async with (
        exchange(answer_delay_ms=30_000) as callee,
        placing(tmp_path, callee.port(), ring_timeout_s=5) as (_, http),
    ):
        placed = await http.post("/v1/calls", json={"to": "+4930123456", "request_id": "one"})
        assert await settled(http, placed.json()["call_id"]) == "no_answer"
        await callee.empty()


async def test_a_request_that_comes_again_needs_neither_room_nor_pace(tmp_path: Path) -> None:
    async with exchange(echo=False) as callee, placing(tmp_path, callee.port(), dials_per_minute=1) as (_, http):
        wish = {"to": "+4930123456", "request_id": "one"}
        placed = await http.post("/v1/calls", json=wish)
        again = await http.post("/v1/calls", json=wish)
        assert again.status_code == 200
        assert again.json()["call_id"] == placed.json()["call_id"]
        other = await http.post("/v1/calls", json=wish | {"on_machine": "hang_up"})
        assert other.json()["error"]["code"] == "request.invalid"
        assert (await http.post("/v1/calls", json=wish | {"request_id": "two"})).status_code == 429
        await callee.talk()


async def test_how_a_call_ended_is_on_record_though_its_task_was_cancelled(tmp_path: Path) -> None:
    leg = TestLeg()
    async with served(tmp_path, latency={"enforce": False}) as server:
        phones = server.application.phones
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(phones.hold, leg, Identity("default", "phone"))
            await eventually(lambda: leg.listener is not None)
            tasks.cancel_scope.cancel()
        found = await phones.find(leg.info.call_id, Identity("default", "phone"))
        assert found.status == "ended"


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
