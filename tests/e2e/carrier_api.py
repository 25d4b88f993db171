"""Carriers' HTTP interfaces, for tests: a real server that keeps what it is asked and answers as the documents say.

Twilio's REST API, Call Automation's REST API (bodies and signatures held to Microsoft's own package), and the issuer of
Call Automation's tokens.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import anyio
import jwt
import uvicorn
from azure.communication.callautomation._generated import models
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.listening import answering, listen

RESOURCE = "8f4c0d53-0000-4000-8000-0123456789ab"
ACS_KEY = base64.b64encode(b"a key of thirty-two bytes and so").decode()
ISSUER = "https://acscallautomation.communication.azure.com"
BODIES = {
    "/calling/callConnections:answer": models.AnswerCallRequest,
    "/calling/callConnections": models.CreateCallRequest,
    ":transferToParticipant": models.TransferToParticipantRequest,
    ":sendDtmfTones": models.SendDtmfTonesRequest,
}


def epoch_s() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000_000


@dataclass
class CarrierApi:
    """What was asked, and how it is answered: ``statuses`` are taken one by one, then 201 or 200."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    statuses: list[int] = field(default_factory=list[int])
    hold: anyio.Event | None = None
    key_fetches: int = 0
    url: str = ""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65_537, 2_048))

    def of(self, part: str) -> list[dict[str, Any]]:
        return [body for path, body in self.asked if part in path]

    def token(self, key: rsa.RSAPrivateKey | None = None, **changes: Any) -> str:
        """A token as Call Automation sends it."""
        headers = {"kid": changes.pop("kid", "k1")}
        claims = {"iss": ISSUER, "aud": RESOURCE, "exp": epoch_s() + 300, **changes}
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            key or self.key,
            changes.pop("alg", "RS256"),
            headers=headers,
        )

    # --- routes ---

    async def twilio(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        assert request.headers["authorization"].startswith("Basic ")
        self.asked.append((request.url.path, form))
        if self.hold is not None:
            await self.hold.wait()
        status = self.statuses.pop(0) if self.statuses else 201
        return JSONResponse({"sid": f"CA{len(self.asked)}"} if status < 300 else {"code": 1}, status)

    async def acs(self, request: Request) -> Response:
        raw = (await request.body()).decode()
        self._require_signature(request, raw)
        body = json.loads(raw or "{}")
        for end, model in BODIES.items():
            if request.url.path.endswith(end):
                _like(model, body)
        self.asked.append((request.url.path, body))
        status = self.statuses.pop(0) if self.statuses else 200
        return JSONResponse({"callConnectionId": "conn-1"} if status < 300 else {}, status)

    async def configuration(self, _: Request) -> Response:
        self.key_fetches += 1
        return JSONResponse({"issuer": ISSUER, "jwks_uri": f"{self.url}/keys"})

    async def keys(self, _: Request) -> Response:
        public = json.loads(RSAAlgorithm.to_jwk(self.key.public_key()))
        return JSONResponse({"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]})

    def _require_signature(self, request: Request, body: str) -> None:
        """As ``HMACCredentialsPolicy`` of Microsoft's package signs."""
        hashed = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        target = f"{request.url.path}?{request.url.query}"
        signed = f"{request.method}\n{target}\n{request.headers['x-ms-date']};{request.headers['host']};{hashed}"
        digest = hmac.new(base64.b64decode(ACS_KEY), signed.encode(), hashlib.sha256).digest()
        wanted = "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="
        assert request.headers["authorization"] == wanted + base64.b64encode(digest).decode()
        assert request.headers["x-ms-content-sha256"] == hashed


def _like(model: Any, body: dict[str, Any]) -> None:
    """Every name in the body is one of the model's, and what it requires is there."""
    names = {attribute["key"]: attribute["type"] for attribute in model._attribute_map.values()}
    assert set(body) <= set(names), (model, body)
    for attribute, rule in model._validation.items():
        if rule.get("required"):
            assert model._attribute_map[attribute]["key"] in body, attribute
    for name, value in body.items():
        kind = "WebSocketMediaStreamingOptions" if names[name] == "MediaStreamingOptions" else names[name]
        inner = getattr(models, kind.strip("[]"), None)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and inner is not None:
                _like(inner, each)


@asynccontextmanager
async def carrier_api() -> AsyncGenerator[CarrierApi]:
    api = CarrierApi()
    routes = [
        Route("/2010-04-01/{path:path}", api.twilio, methods=["POST"]),
        Route("/calling/{path:path}", api.acs, methods=["POST"]),
        Route("/openid", api.configuration),
        Route("/keys", api.keys),
    ]
    config = uvicorn.Config(Starlette(routes=routes), lifespan="off", access_log=False, log_config=None, http="h11")
    async with answering(config, listen("127.0.0.1", 0)) as (host, port):
        api.url = f"http://{host}:{port}"
        yield api
