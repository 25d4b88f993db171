"""The ASGI endpoints of the realtime protocols' WebSockets: OpenAI's path, Azure OpenAI's two, and Voice Live's.

They differ in where the model is named and in dialect; the conversation is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from agents.core.options import Engines
from server.contracts.errors import ErrorCode
from server.edge import deny_socket
from server.errors import Refused, describe
from server.host import Host
from server.observability.arrival import arrival
from server.secrets import Grant
from server.transports.connection import Connection, Disconnected
from server.transports.realtime_conversation import RealtimeConversation, RealtimeOpening, wanted_extras
from server.wire.realtime.dialect import GA
from server.wire.realtime.ga_config import GaConfig
from server.wire.realtime.voice_live import VOICE_LIVE

PROTOCOL: Final = "realtime"
DEFAULT_MODEL: Final = "default"
MAX_MODEL_CHARS: Final = 128

Query = Mapping[str, str]
OpeningOf = Callable[[Query, Grant | None], RealtimeOpening]


def query_of(scope: Scope) -> dict[str, str]:
    """A request's query parameters; of one given twice the first."""
    parsed = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True, max_num_fields=50)
    return {name: values[0] for name, values in parsed.items()}


def ga_opening(query: Query, grant: Grant | None = None) -> RealtimeOpening:
    """How a session in OpenAI's dialect begins: the model is ``model`` or Azure's ``deployment``. Raises Refused."""
    if "call_id" in query:
        raise Refused(ErrorCode.REQUEST_INVALID, "A running call cannot be joined here.", http_status=404)
    model = (query.get("model") or query.get("deployment") or DEFAULT_MODEL)[:MAX_MODEL_CHARS]
    preset: dict[str, Any] = {} if grant is None else dict(grant.session)
    transcription = preset.get("type") == "transcription" or query.get("intent") == "transcription"

    def config(session_id: str, expires_at: int, _: Engines) -> GaConfig:
        named = str(preset.get("model") or model)
        opened = GaConfig.opened(named, session_id, expires_at, transcription=transcription)
        return opened.updated(preset) if preset else opened

    extras = wanted_extras(query.get("convergio_extras"))
    return RealtimeOpening(GA, config, str(preset.get("model") or model), extras)


class RealtimeSocket:
    """An ASGI endpoint; ``opening`` makes of a query how a session begins."""

    def __init__(self, host: Host, opening: OpeningOf = ga_opening) -> None:
        self._host = host
        self._opening = opening

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        try:
            query = query_of(scope)
            opening = self._opening(query, state.get("grant"))
            came = arrival("voice_live" if opening.dialect is VOICE_LIVE else "realtime", scope)
            conversation = RealtimeConversation(self._host, opening, state["identity"], came)
            live = await conversation.open()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told before the handshake
            failure = describe(error)
            self._host.metrics.errors.labels(failure.code).inc()
            await deny_socket(failure, state["request_id"], receive, send)
            return
        connection = Connection(scope, receive, send)
        try:
            await connection.accept(PROTOCOL)
        except Disconnected:
            live.end()
            return
        await conversation.run(connection)
