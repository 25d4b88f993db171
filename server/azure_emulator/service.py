"""The emulator as an ASGI application: Azure Speech's paths, who may use them, and control over what goes wrong.

Owns what connections share: options, faults, state, issued tokens. Any path of either configuration style (``host=``,
``endpoint=``) leads to the same service. Driven by ``serving``.
"""

from __future__ import annotations

import re
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from server.azure_emulator.engines import EmulatorEngines
from server.azure_emulator.faults import Fault, FaultBook, FaultError, Service, fault_from_mapping, faults_as_json
from server.azure_emulator.link import Link, LinkClosed
from server.azure_emulator.state import ConnectionRecord, EmulatorState
from server.azure_emulator.stt_connection import SttConnection, TurnMemory
from server.azure_emulator.stt_session import SttSession
from server.azure_emulator.tts_connection import TtsConnection
from server.azure_emulator.tts_session import TtsSession
from server.azure_emulator.voices import voices_list

ABORT_EXTENSION: Final = "azure_emulator.abort"
KEY_HEADER: Final = "ocp-apim-subscription-key"
TOKEN_LIFE_S: Final = 600.0
MAX_TOKENS: Final = 1_000

_STT: Final = re.compile(
    r"(/stt)?/speech/(recognition/(conversation|interactive|dictation)/cognitiveservices/v[12]|universal/v[12])"
)
_TTS: Final = re.compile(r"(/tts)?/cognitiveservices/websocket/v[12]")
_KEPT_HEADERS: Final = frozenset({"user-agent", "x-connectionid", "sec-websocket-protocol", "host"})


@dataclass(frozen=True, slots=True)
class EmulatorOptions:
    """How the emulator behaves.

    ``key`` is the subscription key it wants (``None``: anybody may); ``tokens`` are bearer tokens it takes beside those
    it issues; ``turn_per_phrase`` ends a recognition turn after each phrase; a connection is closed after
    ``connection_limit_s`` with ``connection_limit_code``.
    """

    key: str | None = field(default=None, repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)
    turn_per_phrase: bool = False
    connection_limit_s: float | None = None
    connection_limit_code: int = 1000
    faults: tuple[Fault, ...] = ()


class Emulator:
    """The service. ``app`` is its ASGI application."""

    def __init__(self, engines: EmulatorEngines, options: EmulatorOptions | None = None) -> None:
        self.options = options or EmulatorOptions()
        self.faults = FaultBook(self.options.faults)
        self.state = EmulatorState()
        self._engines = engines
        self._memory = TurnMemory()
        self._tokens: dict[str, float] = {}
        self._open: set[anyio.CancelScope] = set()
        http = [
            ("/emulator/health", self._health, ["GET"]),
            ("/emulator/state", self._state, ["GET", "DELETE"]),
            ("/emulator/faults", self._faults, ["GET", "POST", "DELETE"]),
            ("/emulator/connections", self._hang_up, ["DELETE"]),
            ("/sts/v1.0/issueToken", self._issue_token, ["POST"]),
            ("/sts/v1.0/issuetoken", self._issue_token, ["POST"]),
            ("/cognitiveservices/voices/list", self._voices, ["GET"]),
            ("/tts/cognitiveservices/voices/list", self._voices, ["GET"]),
        ]
        routes = [Route(path, endpoint, methods=methods) for path, endpoint, methods in http]
        self.app = Starlette(routes=[*routes, WebSocketRoute("/{path:path}", self._socket)])

    # --- WebSockets ---

    async def _socket(self, socket: WebSocket) -> None:
        path = socket.url.path
        service: Service | None = "stt" if _STT.fullmatch(path) else "tts" if _TTS.fullmatch(path) else None
        auth = _auth_kind(socket)
        headers = {name: value for name, value in socket.headers.items() if name in _KEPT_HEADERS}
        record = self.state.open(service, path, dict(socket.query_params), auth, headers)
        if service is None:
            await _refuse(socket, record, PlainTextResponse("No such resource", 404))
            return
        if await self._fault_at_upgrade(socket, service, record):
            return
        if not self._may(socket):
            await _refuse(socket, record, PlainTextResponse("Access denied", 401))
            return
        await socket.accept()
        record.status = 101
        link = Link(socket, service, self.faults, record, socket.scope["extensions"][ABORT_EXTENSION])
        try:
            await link.at("open")
            with anyio.move_on_after(self.options.connection_limit_s) as limit:
                self._open.add(limit)
                try:
                    await self._connection(service, link, socket).run()
                finally:
                    self._open.discard(limit)
            if limit.cancelled_caught:
                await link.close(self.options.connection_limit_code, "maximum connection duration")
        except LinkClosed:
            pass

    async def _fault_at_upgrade(self, socket: WebSocket, service: Service, record: ConnectionRecord) -> bool:
        """Whether the upgrade is over before it began."""
        fault = self.faults.take(service, "upgrade")
        if fault is None:
            return False
        match fault.kind:
            case "redirect":
                url = str(socket.url)
                await _refuse(socket, record, PlainTextResponse("", 301, {"Location": url}))
            case "hang":
                while (await socket.receive())["type"] != "websocket.disconnect":
                    pass
            case "refuse":
                headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
                await _refuse(socket, record, PlainTextResponse(fault.reason, fault.status, headers))
            case "delay":
                await anyio.sleep(fault.ms / 1_000)
                return False
            case "abort":
                record.closed = 1006
                socket.scope["extensions"][ABORT_EXTENSION]()
            case _:
                return False
        return True

    def _connection(self, service: Service, link: Link, socket: WebSocket) -> SttConnection | TtsConnection:
        if service == "tts":
            return TtsConnection(link, TtsSession(_new_id), self._engines.tts)
        session = SttSession(
            socket.url.path, socket.query_params, _new_id, turn_per_phrase=self.options.turn_per_phrase
        )
        return SttConnection(link, session, self._engines, self._memory)

    def _may(self, connection: HTTPConnection) -> bool:
        wanted = self.options.key
        if wanted is None:
            return True
        key = connection.headers.get(KEY_HEADER)
        if key is not None:
            return secrets.compare_digest(key.encode(), wanted.encode())
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return False
        expires = self._tokens.get(token)
        return token in self.options.tokens or (expires is not None and expires > anyio.current_time())

    # --- HTTP ---

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "engines": self._engines.name})

    async def _state(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.state.reset()
        return JSONResponse({**self.state.as_json(), "faults_struck": self.faults.struck})

    async def _faults(self, request: Request) -> Response:
        """POST one fault, or a list of them; they are added. DELETE takes all back."""
        if request.method == "DELETE":
            self.faults.clear()
        elif request.method == "POST":
            try:
                given: Any = await request.json()
                several: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given]
                faults = [fault_from_mapping(one) for one in several]
            except (FaultError, ValueError, TypeError, AttributeError) as error:
                return JSONResponse({"error": str(error)}, 400)
            for fault in faults:
                self.faults.add(fault)
        return JSONResponse({"faults": faults_as_json(self.faults)})

    async def _hang_up(self, _: Request) -> Response:
        """Every connection that is open ends, as it does at its limit."""
        scopes = tuple(self._open)
        for scope in scopes:
            scope.cancel()
        return JSONResponse({"closed": len(scopes)})

    async def _issue_token(self, request: Request) -> Response:
        if self.options.key is not None and request.headers.get(KEY_HEADER) != self.options.key:
            return PlainTextResponse("Access denied", 401)
        now = anyio.current_time()
        self._tokens = {token: until for token, until in self._tokens.items() if until > now}
        while len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        token = secrets.token_urlsafe(32)
        self._tokens[token] = now + TOKEN_LIFE_S
        self.state.tokens_issued += 1
        return PlainTextResponse(token, media_type="application/jwt")

    async def _voices(self, request: Request) -> Response:
        if not self._may(request):
            return PlainTextResponse("Access denied", 401)
        self.state.voices_listed += 1
        return JSONResponse(voices_list())


async def _refuse(socket: WebSocket, record: ConnectionRecord, response: Response) -> None:
    record.status = response.status_code
    await socket.send_denial_response(response)


def _auth_kind(connection: HTTPConnection) -> str:
    if KEY_HEADER in connection.headers:
        return "key"
    return "token" if "authorization" in connection.headers else "none"


def _new_id() -> str:
    return uuid.uuid4().hex
