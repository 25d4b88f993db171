"""The SDP answer to an offer: what was taken of it, mirrored, and the rest refused (RFC 8829 section 5.3.1).

Pure: values in, text out. Driven by a peer, which knows its addresses and its certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from server.transports.rtc.offer import Direction, Offer, OfferedAudio, OfferedData, Section, Setup

AnsweredSetup = Literal["active", "passive"]

SCTP_PORT: Final = 5_000
_MIRRORED: Final[dict[Direction, Direction]] = {"sendonly": "recvonly", "recvonly": "sendonly"}


@dataclass(frozen=True, slots=True)
class LocalSide:
    """What we are: where we are reached (``candidates`` are values of candidate lines), and as whom.

    ``version`` grows with each answer of a session. ``fingerprints`` are pairs of hash name and digest.
    """

    session_id: int
    version: int
    ufrag: str
    password: str = field(repr=False)
    candidates: tuple[str, ...]
    fingerprints: tuple[tuple[str, str], ...]
    setup: AnsweredSetup
    ssrc: int
    cname: str
    ask_for_dtx: bool
    max_message_bytes: int


def answered_setup(offered: Setup) -> AnsweredSetup:
    """Our DTLS role. Given the choice we are the client: the handshake begins once we can send (RFC 8842, 5.3)."""
    return "passive" if offered == "active" else "active"


def answered_direction(offered: Direction) -> Direction:
    """What is ours to do where the other side does ``offered``."""
    return _MIRRORED.get(offered, offered)


def write_answer(offer: Offer, local: LocalSide) -> str:
    """The answer, complete with candidates. Lines end as SDP's do."""
    bundle = [
        section.mid
        for at, section in enumerate(offer.sections)
        if section.mid is not None and at in (_at(offer.audio), _at(offer.data))
    ]
    lines = [
        "v=0",
        f"o=- {local.session_id} {local.version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        *([f"a=group:BUNDLE {' '.join(bundle)}"] if bundle else []),
        "a=msid-semantic: WMS *",
    ]
    said = False
    for at, section in enumerate(offer.sections):
        if at == _at(offer.audio):
            assert offer.audio is not None
            lines += _audio(section, offer.audio, local)
        elif at == _at(offer.data):
            assert offer.data is not None
            lines += _data(section, offer.data, local)
        else:
            lines += _refused(section)
            continue
        if not said:
            lines += _candidates(local)  # once: those that share a transport share its candidates (RFC 8843 section 7)
            said = True
    return "\r\n".join(lines) + "\r\n"


def _at(taken: OfferedAudio | OfferedData | None) -> int:
    return -1 if taken is None else taken.section


def _audio(section: Section, audio: OfferedAudio, local: LocalSide) -> Iterator[str]:
    number = audio.payload_type
    yield f"m=audio 9 {section.protocol} {number}"
    yield from _transport(section, local)
    yield "a=rtcp:9 IN IP4 0.0.0.0"
    yield "a=rtcp-mux"
    if audio.mid_extension is not None:
        yield f"a=extmap:{audio.mid_extension} urn:ietf:params:rtp-hdrext:sdes:mid"
    direction = answered_direction(audio.direction)
    yield f"a={direction}"
    yield f"a=rtpmap:{number} opus/48000/2"
    yield f"a=fmtp:{number} minptime=10;useinbandfec=1;stereo=0{';usedtx=1' if local.ask_for_dtx else ''}"
    yield "a=ptime:20"
    if direction in ("sendrecv", "sendonly"):
        yield f"a=msid:{local.cname} {local.cname}-voice"
        yield f"a=ssrc:{local.ssrc} cname:{local.cname}"


def _data(section: Section, data: OfferedData, local: LocalSide) -> Iterator[str]:
    if data.legacy:
        yield f"m=application 9 {section.protocol} {SCTP_PORT}"
    else:
        yield f"m=application 9 {section.protocol} webrtc-datachannel"
    yield from _transport(section, local)
    yield f"a=sctpmap:{SCTP_PORT} webrtc-datachannel 65535" if data.legacy else f"a=sctp-port:{SCTP_PORT}"
    yield f"a=max-message-size:{local.max_message_bytes}"


def _transport(section: Section, local: LocalSide) -> Iterator[str]:
    yield "c=IN IP4 0.0.0.0"
    if section.mid is not None:
        yield f"a=mid:{section.mid}"
    yield f"a=ice-ufrag:{local.ufrag}"
    yield f"a=ice-pwd:{local.password}"
    yield "a=ice-options:trickle"
    for name, digest in local.fingerprints:
        yield f"a=fingerprint:{name} {digest}"
    yield f"a=setup:{local.setup}"


def _candidates(local: LocalSide) -> Iterator[str]:
    for candidate in local.candidates:
        yield f"a=candidate:{candidate}"
    yield "a=end-of-candidates"


def _refused(section: Section) -> Iterator[str]:
    yield f"m={section.kind} 0 {section.protocol} {section.formats}"
    yield "c=IN IP4 0.0.0.0"
    if section.mid is not None:
        yield f"a=mid:{section.mid}"
    yield "a=inactive"
