"""The carriers whose media streams come over a WebSocket: which codec each speaks, and how it proves itself.

A further one is a codec in ``server.wire.phone`` and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from audio.formats import PCM_RATES_HZ
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.transports.phone.admission import Proof
from server.wire.phone.acs import AcsCodec
from server.wire.phone.freeswitch import FreeSwitchCodec
from server.wire.phone.jambonz import SUBPROTOCOL, JambonzCodec
from server.wire.phone.port import StreamCodec, whole
from server.wire.phone.telnyx import TelnyxCodec
from server.wire.phone.twilio import TwilioCodec
from server.wire.phone.vonage import VonageCodec

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Carrier:
    """One kind of stream. ``codec`` makes one of a stream's query, and may raise Refused."""

    name: str
    proof: Proof
    codec: Callable[[Query], StreamCodec]
    subprotocol: str = ""


def _freeswitch(query: Query) -> FreeSwitchCodec:
    rate_hz = whole(query.get("rate", "8000"))
    if rate_hz not in PCM_RATES_HZ:
        raise Refused(ErrorCode.REQUEST_INVALID, f"rate must be one of {', '.join(map(str, PCM_RATES_HZ))}.")
    return FreeSwitchCodec(rate_hz, as_json=query.get("playback") == "json")


CARRIERS: Final[Mapping[str, Carrier]] = {
    carrier.name: carrier
    for carrier in (
        Carrier("twilio", "twilio", lambda _: TwilioCodec()),
        Carrier("acs", "acs", lambda _: AcsCodec()),
        Carrier("telnyx", "secret", lambda _: TelnyxCodec()),
        Carrier("vonage", "secret", lambda _: VonageCodec()),
        Carrier("jambonz", "secret", lambda _: JambonzCodec(), SUBPROTOCOL),
        Carrier("freeswitch", "secret", _freeswitch, "audio.drachtio.org"),
    )
}
