"""The ASGI endpoints of ``/v1/voice/ws`` and ``/v1/ws``: a handshake, then a conversation over the socket."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from server.edge import deny_socket
from server.errors import Refused, describe
from server.guard import Identity, header, require
from server.host import Host
from server.observability.arrival import arrival
from server.permissions import Permission
from server.transports.connection import Connection, Disconnected
from server.transports.voice_conversation import VoiceConversation


class ConversationSocket:
    """The ASGI endpoint. ``voice`` is False for the chat socket, which takes text only."""

    def __init__(self, host: Host, *, voice: bool) -> None:
        self._host = host
        self._voice = voice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id: str = scope["state"]["request_id"]
        browser = header(scope["headers"], b"origin") is not None
        identity: Identity = scope["state"]["identity"]
        try:
            require(identity, Permission.TALK)
            self._host.registry.require_hope()
        except Refused as refused:
            # A page cannot read the answer to a refused handshake: it is told over the socket, when it starts.
            if not browser:
                self._host.metrics.errors.labels(refused.code).inc()
                await deny_socket(describe(refused), request_id, receive, send)
                return
        connection = Connection(scope, receive, send)
        try:
            await connection.accept()
        except Disconnected:
            return
        came = arrival("websocket" if self._voice else "chat", scope)
        await VoiceConversation(self._host, connection, identity, request_id, came).run()
