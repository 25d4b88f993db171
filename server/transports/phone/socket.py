"""The ASGI endpoint of ``/v1/phone/{carrier}``: media streams of telephone carriers over WebSockets."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

from server.contracts.errors import ErrorCode
from server.edge import deny_socket
from server.errors import Refused, describe
from server.guard import header
from server.telephony.desk import PhoneDesk
from server.transports.connection import Connection, Disconnected
from server.transports.phone.admission import admit
from server.transports.phone.carriers import CARRIERS, Carrier
from server.transports.phone.outlet import OutletGone
from server.transports.phone.stream_call import StreamCall, StreamOpening, WireGone
from server.transports.realtime_socket import query_of
from server.wire.phone.port import Frame

NORMAL: Final = frozenset({1000, 1001, 1005})
CLOSED: Final = 1000
TAKEN_FROM_ADDRESS: Final = ("agent_id", "locale")


class PhoneSocket:
    """The endpoint."""

    def __init__(self, desk: PhoneDesk) -> None:
        self._desk = desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        desk = self._desk
        try:
            carrier = _carrier(scope["path_params"]["carrier"])
            query = query_of(scope)
            owner = await admit(desk, carrier.proof, scope, query)
            desk.require_room()
            codec = carrier.codec(query)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told before the handshake
            failure = describe(error)
            desk.host.metrics.errors.labels(failure.code).inc()
            await deny_socket(failure, scope["state"]["request_id"], receive, send)
            return
        connection = Connection(scope, receive, send)
        try:
            await connection.accept(carrier.subprotocol)
        except Disconnected:
            return
        named = header(scope["headers"], b"x-ms-call-connection-id") or ""
        given = {name: query[name] for name in TAKEN_FROM_ADDRESS if name in query}
        opening = StreamOpening(carrier.name, owner, query.get("call_id"), named[:256], given)
        try:
            await StreamCall(desk, codec, SocketWire(connection), opening).run()
        finally:
            await connection.close(CLOSED)


def _carrier(name: str) -> Carrier:
    carrier = CARRIERS.get(name)
    if carrier is None:
        raise Refused(ErrorCode.REQUEST_INVALID, "There is no such carrier.", http_status=404)
    return carrier


class SocketWire:
    """``Wire`` over a WebSocket."""

    in_bites = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def receive(self) -> Frame:
        """The next message."""
        try:
            return await self._connection.receive()
        except Disconnected as gone:
            raise WireGone(orderly=gone.code in NORMAL) from gone

    @property
    def waiting(self) -> bool:
        """Whether the next message has come already."""
        return self._connection.waiting

    async def send(self, frame: Frame) -> None:
        """Send one message."""
        try:
            await self._connection.send(frame)
        except Disconnected as gone:
            raise OutletGone from gone

    @property
    def sending_since_s(self) -> float | None:
        """When the send now under way began."""
        return self._connection.sending_since_s

    def cut(self) -> None:
        """End the connection."""
        self._connection.cut(CLOSED)
