"""SIP as a part of the server: the endpoint's calls become conversations, attributed to whoever may call.

Knows the desk of calls, which the endpoint does not; to the desk it is the ``Dialler`` of the carrier ``sip``, through
the first trunk that has a host. The composition root runs it beside everything else.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace

import anyio

from server.telephony.control import DialFailed, OutboundCall
from server.telephony.desk import PhoneDesk
from server.telephony.port import CallControlError, CallInfo
from server.telephony.sip.dialing import NotConnected
from server.telephony.sip.doorman import Admitted
from server.telephony.sip.endpoint import SipEndpoint
from server.telephony.sip.jobs import Jobs
from server.telephony.sip.leg import SipLeg

logger = logging.getLogger(__name__)


class SipService:
    """The SIP endpoint of this server."""

    carrier = "sip"
    says_summary = False
    presses_keys = False
    """Its legs do."""

    def __init__(self, desk: PhoneDesk) -> None:
        self._desk = desk
        self._settings = desk.host.settings.sip
        self._jobs = Jobs()
        self._dialling: dict[str, anyio.CancelScope] = {}
        self.endpoint = SipEndpoint(self._settings, self._converse)
        self._trunk = next((trunk.name for trunk in self._settings.trunks if trunk.host is not None), None)
        if self._trunk is not None:
            desk.diallers[self.carrier] = desk.line = self
        metrics = desk.host.metrics
        metrics.watch("convergio_sip_calls", "Calls by SIP now.", lambda: self.endpoint.calls)
        metrics.watch_counts("convergio_sip_refused", "Requests by SIP of no use, by why.", "why", self._refused)

    async def run(self) -> None:
        """Until cancelled; a port that cannot be had stops SIP, not the server."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._jobs.run)
                tasks.start_soon(self.endpoint.run)
        except* OSError as errors:
            logger.error("sip does not listen", extra={"why": str(errors.exceptions[0])})  # noqa: TRY400 - it says why

    def drain(self) -> None:
        """Take no new calls."""
        self.endpoint.drain()

    # --- Dialler ---

    async def dial(self, call: OutboundCall) -> str:
        """Have a number called; whoever answers is talked to. Raises DialFailed."""
        info = self._desk.expected(call.call_id)
        if info is None or self._trunk is None:
            raise DialFailed("There is no trunk to call through.", certain=True)
        info = replace(info, carrier_call_id=secrets.token_hex(16))
        self._dialling[call.call_id] = anyio.CancelScope()
        self._jobs.start(self._ring, call.to, info)
        return info.carrier_call_id

    async def connect(self, target: str, info: CallInfo) -> None:
        """Call somebody and have their leg held; returns once they have answered. Raises CallControlError."""
        if self._trunk is None:
            raise CallControlError("There is no trunk to call through.")
        info = replace(info, carrier_call_id=secrets.token_hex(16))
        await self.endpoint.dial(target, self._trunk, self._desk.settings.ring_timeout_s, info)

    async def hang_up(self, info: CallInfo) -> None:
        """Stop ringing."""
        scope = self._dialling.get(info.call_id)
        if scope is not None:
            scope.cancel()

    async def transfer(self, info: CallInfo, target: str, summary: str | None) -> None:
        """Left to the leg."""
        raise CallControlError("This call is transferred by its own leg.")

    async def send_digits(self, info: CallInfo, digits: str) -> None:
        """Left to the leg."""
        raise CallControlError("Keys are pressed by the call's own leg.")

    async def _ring(self, to: str, info: CallInfo) -> None:
        assert self._trunk is not None
        ring_s = self._desk.settings.ring_timeout_s
        try:
            with self._dialling[info.call_id]:
                await self.endpoint.dial(to, self._trunk, ring_s, info)
        except NotConnected as error:
            await self._desk.became(info.call_id, error.status, str(error))
        except CallControlError as error:
            await self._desk.became(info.call_id, "failed", str(error))
        finally:
            self._dialling.pop(info.call_id, None)

    # --- calls ---

    def _refused(self) -> dict[str, int]:
        return {"stranger": self.endpoint.refused, "malformed": self.endpoint.signalling.malformed}

    async def _converse(self, leg: SipLeg, admitted: Admitted) -> None:
        owner = self._desk.owner if admitted.tenant is None else self._desk.caller(admitted.tenant)
        await self._desk.hold(leg, owner)
