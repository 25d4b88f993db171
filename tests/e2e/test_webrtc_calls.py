"""WebRTC signalling and calls over real HTTP, with stock aiortc clients: what is taken, what is refused, what ends."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from server.app import Application
from tests.scripted_server import Served, eventually, served

SDP = {"Content-Type": "application/sdp"}
KEY = "a-long-random-secret"
OTHER = "another-long-random-secret"


class Caller:
    """One aiortc connection. ``said`` is what came over its channel."""

    def __init__(self, label: str | None = "convergio.v1", *, audio: bool = True) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if audio:
            self.connection.addTransceiver("audio", "recvonly")
        self.channel: RTCDataChannel | None = None if label is None else self.connection.createDataChannel(label)
        self.said: list[dict[str, Any]] = []
        self.opened = anyio.Event()
        if self.channel is not None:
            self.channel.on("open", self.opened.set)
            self.channel.on("message", lambda text: self.said.append(json.loads(text)))

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def call(self, http: httpx.AsyncClient, path: str = "/v1/voice/webrtc", **headers: str) -> httpx.Response:
        answer = await http.post(path, content=await self.offer(), headers=SDP | headers)
        if answer.status_code == 201:
            await self.connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        return answer

    async def ready(self) -> None:
        with anyio.fail_after(15):
            await self.opened.wait()

    def send(self, **message: Any) -> None:
        assert self.channel is not None
        self.channel.send(json.dumps(message))

    async def until(self, kind: str) -> dict[str, Any]:
        await eventually(lambda: any(message["type"] == kind for message in self.said))
        return next(message for message in self.said if message["type"] == kind)


@asynccontextmanager
async def caller(label: str | None = "convergio.v1", *, audio: bool = True) -> AsyncGenerator[Caller]:
    made = Caller(label, audio=audio)
    try:
        yield made
    finally:
        await made.connection.close()


def http_to(server: Served, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=10)


def open_calls(application: Application) -> int:
    return len(application._calls)


async def test_a_typed_conversation_is_held_on_the_data_channel(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_to(server) as http, caller() as client:
        answer = await client.call(http)
        assert answer.headers["etag"].strip('"')
        await client.ready()
        client.send(type="voice.start", output={"modalities": ["text"]})
        await client.until("session.started")
        client.send(type="chat.start", prompt="hello")
        assert (await client.until("chat.complete"))["text"] == "You said: hello."
        assert (await http.delete(answer.headers["location"])).status_code == 204
        await eventually(lambda: open_calls(server.application) == 0 and len(server.application.host.registry) == 0)


async def test_a_session_begun_over_webrtc_goes_on_over_a_socket(tmp_path: Path) -> None:
    from websockets.asyncio.client import connect  # noqa: PLC0415

    async with served(tmp_path) as server, http_to(server) as http:
        async with caller() as client:
            await client.call(http)
            await client.ready()
            client.send(type="voice.start", output={"modalities": ["text"]})
            session_id = (await client.until("session.started"))["session_id"]
        async with connect(server.voice_url, proxy=None) as ws:
            await ws.send(json.dumps({"type": "session.resume", "session_id": session_id, "last_event_id": 1}))
            assert json.loads(await ws.recv())["type"] == "session.resumed"
            await ws.send(json.dumps({"type": "chat.start", "prompt": "again"}))
            while (message := json.loads(await ws.recv()))["type"] != "chat.complete":
                pass
            assert message["text"] == "You said: again."


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("no sdp at all\r\nm=application 9\r\n", SDP, 400),
        ("", SDP, 400),
        ("v=0\r\nm=application " + "x" * 70_000, SDP, 413),
        ("{}", {"Content-Type": "application/json"}, 415),
    ],
)
async def test_what_is_no_offer_is_refused(tmp_path: Path, body: str, headers: dict[str, str], status: int) -> None:
    async with served(tmp_path) as server, http_to(server) as http:
        answer = await http.post("/v1/voice/webrtc", content=body, headers=headers)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]
        assert open_calls(server.application) == 0


async def test_our_own_protocol_needs_a_data_channel_and_says_so(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_to(server) as http, caller(None) as client:
        answer = await client.call(http)
        assert answer.status_code == 400
        assert "convergio.v1" in answer.json()["error"]["message"]


async def test_a_realtime_call_without_messages_is_a_session_as_it_was_configured(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_to(server) as http, caller(None) as client:
        answer = await client.call(http, "/v1/realtime/calls")
        assert answer.status_code == 201
        await eventually(lambda: len(server.application.host.registry) == 1)
        hung_up = await http.post(f"{answer.headers['location']}/hangup")
        assert hung_up.status_code == 200
        await eventually(lambda: open_calls(server.application) == 0 and len(server.application.host.registry) == 0)


async def test_a_channel_of_another_name_is_no_conversation_and_the_call_ends(tmp_path: Path) -> None:
    quick = {"limits": {"handshake_timeout_s": 0.1}, "webrtc": {"connect_timeout_s": 2.0}}
    async with served(tmp_path, **quick) as server, http_to(server) as http, caller("something") as client:
        assert (await client.call(http)).status_code == 201
        await eventually(lambda: open_calls(server.application) == 0)


async def test_offers_that_lead_nowhere_take_no_more_than_their_share(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"max_connecting_per_key": 2}) as server, http_to(server) as http:
        async with caller() as client:
            offer = await client.offer()
        answers = [await http.post("/v1/voice/webrtc", content=offer, headers=SDP) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert int(answers[2].headers["retry-after"]) > 0


async def test_nobody_touches_the_call_of_another(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=[KEY, OTHER]) as server:
        mine, theirs = {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Bearer {OTHER}"}
        async with http_to(server) as http, caller() as stranger:
            assert (await stranger.call(http)).status_code == 401
        async with caller() as client, http_to(server, **mine) as http:
            place = (await client.call(http)).headers["location"]
            await client.ready()
            async with http_to(server, **theirs) as other:
                assert (await other.delete(place)).status_code == 404
                fragment = {"Content-Type": "application/trickle-ice-sdpfrag"}
                assert (await other.patch(place, content="a=end-of-candidates", headers=fragment)).status_code == 404
            assert (await http.patch(place, content="a=end-of-candidates", headers=fragment)).status_code == 204
            assert (await http.delete(place)).status_code == 204


async def test_ice_servers_come_with_credentials_that_are_the_callers(tmp_path: Path) -> None:
    relay = {"turn_urls": ["turn:turn.example.org"], "turn_secret": "shared", "stun_urls": ["stun:stun.example.org"]}
    async with served(tmp_path, webrtc=relay) as server, http_to(server) as http, caller() as client:
        told = (await http.get("/v1/voice/webrtc/ice-servers")).json()
        assert [entry["urls"] for entry in told["ice_servers"]] == [
            ["stun:stun.example.org"],
            ["turn:turn.example.org"],
        ]
        assert told["ice_servers"][1]["username"].endswith(":local")
        links = (await client.call(http)).headers.get_list("link")
        assert any('rel="ice-server"' in link and "credential=" in link for link in links)


async def test_without_webrtc_there_is_nothing_at_its_address(tmp_path: Path) -> None:
    async with served(tmp_path, webrtc={"enabled": False}) as server, http_to(server) as http:
        for path in ("/v1/voice/webrtc", "/v1/realtime/calls"):
            answer = await http.post(path, content="v=0", headers=SDP)
            assert answer.status_code == 404
            assert "switched off" in answer.json()["error"]["message"]
        assert (await http.post("/v1/realtime/client_secrets", json={})).status_code == 200


async def test_a_client_secret_brings_its_own_session_and_no_other(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=[KEY]) as server, http_to(server) as http, caller("oai-events") as client:
        keyed = {"Authorization": f"Bearer {KEY}"}
        minted = await http.post(
            "/v1/realtime/client_secrets", json={"session": {"type": "transcription"}}, headers=keyed
        )
        secret = {"Authorization": f"Bearer {minted.json()['value']}"}
        form = {"sdp": (None, await client.offer()), "session": (None, '{"type": "realtime"}', "application/json")}
        assert (await http.post("/v1/realtime/calls", files=form, headers=secret)).status_code == 400
        assert (await client.call(http, "/v1/realtime/calls", **secret)).status_code == 201
        await client.ready()
        assert (await client.until("session.created"))["session"]["type"] == "transcription"


async def test_a_page_of_an_allowed_origin_may_call_with_the_headers_sdks_send(tmp_path: Path) -> None:
    origin = "https://page.example.org"
    async with served(tmp_path, allowed_origins=[origin]) as server, http_to(server) as http:
        for path in ("/v1/realtime/calls", "/v1/voice/webrtc", "/v1/realtime/client_secrets"):
            asked = "authorization, content-type, x-openai-agents-sdk, x-stainless-lang, openai-beta, if-match"
            headers = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": asked,
            }
            answer = await http.options(path, headers=headers)
            assert answer.status_code == 200, path
            assert answer.headers["access-control-allow-origin"] == origin
        foreign = await http.options("/v1/realtime/calls", headers=headers | {"Origin": "https://evil.example.org"})
        assert foreign.headers.get("access-control-allow-origin") is None
