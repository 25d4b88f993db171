"""Calls over Azure Communication Services: Event Grid, answering, tokens checked by keys, both casings, callbacks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import numpy as np
import pytest
from carrier_api import ACS_KEY, RESOURCE, CarrierApi, carrier_api, epoch_s
from cryptography.hazmat.primitives.asymmetric import rsa
from phone_carrier import PUBLIC
from spoken import said
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agents.models.port import ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from tests.scripted_server import Served, eventually, scripted_engines, served

CODE = "a-secret-in-the-address"
EVENTS = f"/v1/phone/acs/events?code={CODE}"


def incoming(event_id: str = "e1") -> dict[str, Any]:
    """As Event Grid tells of a call."""
    caller = {"kind": "phoneNumber", "rawId": "4:+15550100123", "phoneNumber": {"value": "+15550100123"}}
    callee = {"kind": "phoneNumber", "rawId": "4:+15550100999", "phoneNumber": {"value": "+15550100999"}}
    data = {"to": callee, "from": caller, "serverCallId": "s1", "callerDisplayName": "", "incomingCallContext": "ctx"}
    return {"id": event_id, "eventType": "Microsoft.Communication.IncomingCall", "data": data, "subject": "x"}


@asynccontextmanager
async def server(
    tmp_path: Path, api: CarrierApi, model: Any = None
) -> AsyncGenerator[tuple[Served, httpx.AsyncClient]]:
    acs = {"endpoint": api.url, "key": ACS_KEY, "resource_id": RESOURCE, "webhook_secret": CODE}
    acs |= {"openid_configuration": f"{api.url}/openid", "number": "+15550100999"}
    telephony = {"public_url": PUBLIC, "acs": acs, "greeting": "Hello there.", "greeting_after_s": 0}
    telephony |= {"dial_prefixes": ["+1555"]}
    async with served(tmp_path, scripted_engines(model), telephony=telephony, latency={"enforce": False}) as one:
        async with httpx.AsyncClient(base_url=one.url, trust_env=False, timeout=20) as http:
            yield one, http
        await eventually(lambda: len(one.application.host.registry) == 0, 20)


class AcsCarrier:
    """The service's side of a stream."""

    def __init__(self, ws: ClientConnection, rate_hz: int, *, pascal: bool = False) -> None:
        self.ws, self.rate_hz, self.pascal = ws, rate_hz, pascal
        self.heard = bytearray()
        self.stopped = 0
        self.closed = False

    async def start(self) -> None:
        metadata = {"subscriptionId": "s", "encoding": "PCM", "sampleRate": self.rate_hz, "channels": 1}
        await self.tell("AudioMetadata", "audioMetadata", {**metadata, "length": self.rate_hz // 25})

    async def say(self, samples: np.ndarray) -> None:
        at = np.arange(0, len(samples) * self.rate_hz // 16_000) * 16_000 / self.rate_hz
        wide = np.interp(at, np.arange(len(samples)), samples).astype("<i2")
        for start in range(0, len(wide), self.rate_hz // 50):
            payload = base64.b64encode(wide[start : start + self.rate_hz // 50].tobytes()).decode()
            data = {
                "timestamp": "2026-01-01T00:00:00Z",
                "participantRawID": "4:+1555",
                "data": payload,
                "silent": False,
            }
            await self.tell("AudioData", "audioData", data)

    async def tell(self, kind: str, name: str, data: dict[str, Any]) -> None:
        message: Any = {"kind": kind, name: data}
        if self.pascal:
            message = {key[:1].upper() + key[1:]: value for key, value in message.items()}
            inside = name[:1].upper() + name[1:]
            message[inside] = {key[:1].upper() + key[1:]: value for key, value in data.items()}
        await self.ws.send(json.dumps(message))

    async def listen(self) -> None:
        try:
            while True:
                message = json.loads(await self.ws.recv())
                match message["Kind"]:
                    case "AudioData":
                        self.heard += base64.b64decode(message["AudioData"]["Data"], validate=True)
                    case "StopAudio":
                        assert message["StopAudio"] == {}
                        self.stopped += 1
        except ConnectionClosed:
            self.closed = True

    @property
    def heard_ms(self) -> int:
        return len(self.heard) * 500 // self.rate_hz


@asynccontextmanager
async def acs_call(
    one: Served, token: str, call_id: str = "", rate_hz: int = 24_000, **options: Any
) -> AsyncGenerator[AcsCarrier]:
    headers = {"Authorization": f"Bearer {token}", "x-ms-call-connection-id": "conn-1"}
    url = f"ws{one.url.removeprefix('http')}/v1/phone/acs" + (f"?call_id={call_id}" if call_id else "")
    async with connect(url, proxy=None, compression=None, additional_headers=headers) as ws:
        carrier = AcsCarrier(ws, rate_hz, **options)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carrier.listen)
            await carrier.start()
            yield carrier
            tasks.cancel_scope.cancel()


async def test_event_grid_is_answered_when_it_asks_who_we_are(tmp_path: Path) -> None:
    asked = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "v1"}}]
    async with carrier_api() as api, server(tmp_path, api) as (_, http):
        assert (await http.post(EVENTS, json=asked)).json() == {"validationResponse": "v1"}
        for code in ("", "wrong", "é"):
            assert (await http.post("/v1/phone/acs/events", params={"code": code}, json=asked)).status_code == 401
        assert (await http.post(EVENTS, content=b"{")).status_code == 400


@pytest.mark.parametrize(("rate_hz", "pascal"), [(24_000, False), (16_000, True)])
async def test_a_call_is_taken_spoken_and_ended(tmp_path: Path, rate_hz: int, pascal: bool) -> None:
    model = ScriptedModel("Ten meters it is.", repeat=True)
    async with carrier_api() as api, server(tmp_path, api, model) as (one, http):
        for _ in range(2):  # Event Grid tells everything twice if it likes
            assert (await http.post(EVENTS, json=[incoming()])).status_code == 200
        answers = api.of(":answer")
        assert len(answers) == 1
        assert answers[0]["incomingCallContext"] == "ctx"
        streaming = answers[0]["mediaStreamingOptions"]
        assert streaming["transportUrl"].startswith("wss://voice.example.org/v1/phone/acs?call_id=call_")
        call_id = streaming["transportUrl"].rpartition("=")[2]
        async with acs_call(one, api.token(), call_id, rate_hz, pascal=pascal) as call:
            await eventually(lambda: call.heard_ms >= 650)
            live = next(iter(one.application.host.registry._live.values()))
            assert "+15550100123" in live.session._engines.agent.system_prompt
            await call.say(said("goforward"))
            await eventually(lambda: call.heard_ms >= 1_500)
            assert (await http.delete(f"/v1/calls/{call_id}")).status_code == 204
            await eventually(lambda: call.closed)
        await eventually(lambda: bool(api.of("conn-1:terminate")) or any("terminate" in path for path, _ in api.asked))


async def test_speech_over_an_answer_stops_the_audio(tmp_path: Path) -> None:
    model = ScriptedModel("This is a long answer that goes on for quite some time. " * 6, repeat=True)
    async with carrier_api() as api, server(tmp_path, api, model) as (one, _), acs_call(one, api.token()) as call:
        await eventually(lambda: call.heard_ms >= 650)
        await call.say(said("goforward"))
        await eventually(lambda: call.heard_ms >= 1_700)
        await call.say(said("goforward", silence_s=0.1))
        await eventually(lambda: call.stopped > 0)


async def test_keys_are_an_entry(tmp_path: Path) -> None:
    model = ScriptedModel("Thank you.", repeat=True)
    async with carrier_api() as api, server(tmp_path, api, model) as (one, _), acs_call(one, api.token()) as call:
        await eventually(lambda: call.heard_ms >= 650)
        for digit in "7#":
            await call.tell("DtmfData", "dtmfData", {"data": digit})
        await eventually(lambda: bool(model.requests))
        assert model.requests[-1].messages[-1].text == "[The caller entered 7 on the keypad]"


async def test_the_agent_presses_keys_by_the_services_api(tmp_path: Path) -> None:
    asks = ScriptedReply("", tools=(ToolRequest("c1", "send_digits", '{"digits": "4#"}'),))
    model = ScriptedModel(asks, ScriptedReply("Done."), profile=ModelProfile("scripted", "tools", tools=True))
    async with carrier_api() as api, server(tmp_path, api, model) as (one, http):
        await http.post(EVENTS, json=[incoming()])
        call_id = api.of(":answer")[0]["mediaStreamingOptions"]["transportUrl"].rpartition("=")[2]
        async with acs_call(one, api.token(), call_id) as call:
            await eventually(lambda: call.heard_ms >= 650)
            await call.say(said("goforward"))
            await eventually(lambda: bool(api.of(":sendDtmfTones")), 20)
            [pressed] = api.of(":sendDtmfTones")
            assert pressed["tones"] == ["four", "pound"]
            assert pressed["targetParticipant"]["phoneNumber"]["value"] == "+15550100123"


async def test_only_the_services_tokens_open_a_stream(tmp_path: Path) -> None:
    stranger = rsa.generate_private_key(65_537, 2_048)
    async with carrier_api() as api, server(tmp_path, api) as (one, _):
        bad = {
            "another key": api.token(stranger),
            "another resource": api.token(aud="somebody-else"),
            "another issuer": api.token(iss="https://elsewhere.example.org"),
            "expired": api.token(exp=epoch_s() - 600),
            "without an end": api.token(exp=None),
            "an unknown key": api.token(kid="k9"),
            "no token": "x",
        }
        for why, token in bad.items():
            with pytest.raises(InvalidStatus) as refused:
                async with acs_call(one, token):
                    pass
            assert refused.value.response.status_code == 401, why
        assert api.key_fetches == 1  # strangers cannot have us ask for ever
        async with acs_call(one, api.token()) as call:
            await eventually(lambda: call.heard_ms > 0)


async def test_a_token_of_another_kind_opens_nothing(tmp_path: Path) -> None:
    """A public key is no shared secret (the confusion of RS256 with HS256), and no signature is none."""
    async with carrier_api() as api, server(tmp_path, api) as (one, _):
        claims = {"iss": "https://acscallautomation.communication.azure.com", "aud": RESOURCE, "exp": 9_999_999_999}
        shared = jwt.encode(claims, "x" * 64, "HS256", headers={"kid": "k1"})
        unsigned = jwt.encode(claims, None, "none", headers={"kid": "k1"})
        for token in (shared, unsigned):
            with pytest.raises(InvalidStatus) as refused:
                async with acs_call(one, token):
                    pass
            assert refused.value.response.status_code == 401


async def test_a_call_is_placed_and_followed(tmp_path: Path) -> None:
    async with carrier_api() as api, server(tmp_path, api) as (_, http):
        placed = await http.post("/v1/calls", json={"to": "+15550100555", "request_id": "r1"})
        call_id = placed.json()["call_id"]
        assert placed.json()["status"] == "ringing"
        assert api.asked[0][0] == "/calling/callConnections"
        path = f"/v1/phone/acs/callbacks?call_id={call_id}"
        gone = [{"type": "Microsoft.Communication.CallDisconnected", "data": {"callConnectionId": "conn-1"}}]
        assert (await http.post(path, json=gone)).status_code == 401
        headers = {"Authorization": f"Bearer {api.token()}"}
        assert (await http.post(path, json=gone, headers=headers)).status_code == 200
        assert (await http.get(f"/v1/calls/{call_id}")).json()["status"] == "ended"
