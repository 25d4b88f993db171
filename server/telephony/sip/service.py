"""SIP as a part of the server: the endpoint's calls become conversations, attributed to whoever may call.

Knows the host and the conversation, which the endpoint does not. The composition root runs it beside everything else.
"""

from __future__ import annotations

import logging

from server.guard import Identity
from server.host import Host
from server.telephony.conversation import PhoneConversation
from server.telephony.sip.doorman import Admitted
from server.telephony.sip.endpoint import SipEndpoint
from server.telephony.sip.leg import SipLeg

logger = logging.getLogger(__name__)


class SipService:
    """The SIP endpoint of this server."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.endpoint = SipEndpoint(host.settings.sip, self._converse)
        host.metrics.watch("convergio_sip_calls", "Calls by SIP now.", lambda: self.endpoint.calls)
        host.metrics.watch_counts(
            "convergio_sip_refused", "Requests of strangers by SIP that were refused.", "fate", self._refused
        )

    async def run(self) -> None:
        """Until cancelled; a port that cannot be had stops SIP, not the server."""
        try:
            await self.endpoint.run()
        except OSError as error:
            logger.error("sip does not listen", extra={"why": error.strerror or str(error)})  # noqa: TRY400

    def drain(self) -> None:
        """Take no new calls."""
        self.endpoint.drain()

    def _refused(self) -> dict[str, int]:
        return {"refused": self.endpoint.refused, "malformed": self.endpoint.signalling.malformed}

    async def _converse(self, leg: SipLeg, admitted: Admitted) -> None:
        tenant = admitted.tenant or self._host.settings.telephony.tenant
        await PhoneConversation(self._host, leg, Identity(tenant, f"sip_{admitted.name}")).run()
