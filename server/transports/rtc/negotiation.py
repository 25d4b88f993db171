"""Offers and answers of one peer: what was agreed, and the ICE connections that come of it.

Owns our side's description: one DTLS role and one certificate for life, new ICE credentials with each restart. Tells
the link which connection to use; connecting them is the peer's work.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from aiortc import RTCCertificate

from server.transports.rtc.description import AnsweredSetup, LocalSide, answered_setup, write_answer
from server.transports.rtc.ice import IceConnection
from server.transports.rtc.link import Link
from server.transports.rtc.offer import Offer, OfferedTransport, parse_fragment, parse_offer
from server.transports.rtc.port import BadOffer, PeerOptions
from server.transports.rtc.secure import fingerprints_of


class Negotiation:
    """Begins with the first offer, read already."""

    def __init__(self, offer: Offer, certificate: RTCCertificate, link: Link, options: PeerOptions) -> None:
        self.offer = offer
        self.setup: AnsweredSetup = answered_setup(offer.transport.setup)
        self.ssrc = secrets.randbits(32)
        self.cname = secrets.token_hex(8)
        self.certificate = certificate
        self._link = link
        self._options = options
        self._session_id = secrets.randbits(62)
        self._version = 0
        self._newest: IceConnection | None = None

    async def first_connection(self) -> IceConnection:
        """Gather the connection of the first offer. Raises IceUnavailable."""
        connection = await self._gather(self.offer.transport)
        self._link.begin(connection)
        return connection

    async def later_connection(self, text: str) -> tuple[Offer, IceConnection | None]:
        """A later offer, and where it asks for an ICE restart the new connection. Raises BadOffer, IceUnavailable."""
        offer = parse_offer(text)
        if offer.transport.fingerprints != self.offer.transport.fingerprints:
            raise BadOffer("A later offer must keep the certificate of the first.")
        # What was not agreed at first is refused; what was agreed may be missing.
        offer = replace(
            offer,
            audio=offer.audio if self.offer.audio else None,
            data=offer.data if self.offer.data else None,
        )
        newest = self._newest
        if newest is not None and newest.remote_username == offer.transport.ufrag:
            await newest.add_candidates(offer.transport.candidates)
            return offer, None
        connection = await self._gather(offer.transport)
        await self._link.restart(connection)
        return offer, connection

    async def add_candidates(self, text: str) -> None:
        """Candidates for the newest connection."""
        fragment = parse_fragment(text)
        if self._newest is not None and fragment.ufrag in (None, self._newest.remote_username):
            await self._newest.add_candidates(fragment.candidates)

    def answer(self, offer: Offer) -> str:
        """Our description, with the newest connection's credentials and candidates."""
        assert self._newest is not None
        self._version += 1
        return write_answer(
            offer,
            LocalSide(
                session_id=self._session_id,
                version=self._version,
                ufrag=self._newest.local_username,
                password=self._newest.local_password,
                candidates=self._newest.answer_candidates(),
                fingerprints=fingerprints_of(self.certificate),
                setup=self.setup,
                ssrc=self.ssrc,
                cname=self.cname,
                ask_for_dtx=self._options.ask_for_dtx,
                max_message_bytes=self._options.max_message_bytes,
            ),
        )

    async def _gather(self, remote: OfferedTransport) -> IceConnection:
        connection = IceConnection(self._options.ice, self._link, controlling=remote.ice_lite)
        try:
            await connection.gather()
            connection.remote_is_lite = remote.ice_lite
            connection.remote_username = remote.ufrag
            connection.remote_password = remote.password
            await connection.add_candidates(remote.candidates)
        except BaseException:
            await connection.close()
            raise
        self._newest = connection
        return connection
