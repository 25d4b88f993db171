"""Which codec, key and direction a call gets: offer and answer over one audio stream (RFC 3264).

Pure: descriptions in, an ``Agreed`` and the answer's sections out. Whoever has sockets says where packets are to come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from server.wire.sip.errors import NoAgreement
from server.wire.sip.sdp import KEY_BYTES, AudioSection, Crypto, Description, Direction, Format, Other, Suite

CodecName = Literal["pcmu", "pcma", "g722", "opus"]
SrtpPolicy = Literal["off", "optional", "required"]

CODECS: Final[tuple[CodecName, ...]] = ("opus", "g722", "pcmu", "pcma")
_OFFERED: Final[dict[CodecName, Format]] = {
    "pcmu": Format(0, "pcmu", 8_000),
    "pcma": Format(8, "pcma", 8_000),
    "g722": Format(9, "g722", 8_000),
    "opus": Format(96, "opus", 48_000, "useinbandfec=1"),
}
_EVENTS: Final = Format(101, "telephone-event", 8_000, "0-15")
_OPUS_EVENTS: Final = Format(102, "telephone-event", 48_000, "0-15")
_SUITES: Final[tuple[Suite, ...]] = (
    "AES_CM_128_HMAC_SHA1_80",
    "AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM",
    "AES_CM_128_HMAC_SHA1_32",
)
_MIRRORED: Final[dict[Direction, Direction]] = {"sendonly": "recvonly", "recvonly": "sendonly"}
_PLAIN: Final = ("RTP/AVP", "RTP/AVPF")
_SECURE: Final = ("RTP/SAVP", "RTP/SAVPF")


@dataclass(frozen=True, slots=True)
class MediaTaste:
    """What we take: codecs, best first (the other side's order decides among them), and whether SRTP must be."""

    codecs: tuple[CodecName, ...] = CODECS
    srtp: SrtpPolicy = "optional"


@dataclass(frozen=True, slots=True)
class Agreed:
    """How audio travels. ``host`` and ``port`` are where ours goes; keys are master key and salt."""

    codec: CodecName
    payload_type: int
    host: str
    port: int
    direction: Direction
    event_type: int | None = None
    event_clock_hz: int = 8_000
    noise_type: int | None = None
    rtcp_port: int | None = None
    suite: Suite | None = None
    our_key: bytes = field(default=b"", repr=False)
    their_key: bytes = field(default=b"", repr=False)
    held: bool = False

    @property
    def hears(self) -> bool:
        return self.direction in ("sendrecv", "recvonly")

    @property
    def speaks(self) -> bool:
        return self.direction in ("sendrecv", "sendonly") and not self.held


@dataclass(frozen=True, slots=True)
class Place:
    """Where our audio comes in. ``new_key`` returns so many random bytes."""

    port: int
    rtcp_port: int
    new_key: Callable[[int], bytes]


def answer_offer(
    offer: Description, taste: MediaTaste, place: Place, before: Agreed | None = None
) -> tuple[Agreed, tuple[AudioSection | Other, ...]]:
    """What we take of an offer, and the answer's sections. ``before`` keeps our key in a later round.

    Raises NoAgreement.
    """
    for at, section in enumerate(offer.sections):
        if not isinstance(section, AudioSection) or not section.port:
            continue
        taken = _take(section, taste, place, before)
        if taken is not None:
            agreed, answer = taken
            return agreed, tuple(answer if one == at else _refused(other) for one, other in enumerate(offer.sections))
    raise NoAgreement("Nothing offered can be taken")


def make_offer(taste: MediaTaste, place: Place, *, secure: bool) -> AudioSection:
    """Our own offer: one audio section, encrypted or not."""
    formats = [_OFFERED[codec] for codec in taste.codecs]
    events = [_EVENTS] if any(codec != "opus" for codec in taste.codecs) else []
    events += [_OPUS_EVENTS] if "opus" in taste.codecs else []
    keys = [Crypto(at, suite, place.new_key(KEY_BYTES[suite])) for at, suite in enumerate(_SUITES, start=1)]
    return AudioSection(
        port=place.port,
        protocol="RTP/SAVP" if secure else "RTP/AVP",
        host="",
        formats=(*formats, *events),
        crypto=tuple(keys) if secure else (),
        rtcp_port=place.rtcp_port,
        ptime_ms=20,
    )


def read_answer(offered: AudioSection, answer: Description, taste: MediaTaste) -> Agreed:
    """What an answer to our offer comes to. Raises NoAgreement."""
    section = next((one for one in answer.sections if isinstance(one, AudioSection)), None)
    if section is None or not section.port or _is_secure(section) != _is_secure(offered):
        raise NoAgreement("The answer takes nothing")
    codec = _choose(section, taste)
    if codec is None:
        raise NoAgreement("The answer has no codec of ours")
    agreed = _agreed(section, codec)
    if not _is_secure(section):
        return agreed
    theirs = next(iter(section.crypto), None)
    ours = next((one for one in offered.crypto if theirs is not None and one.tag == theirs.tag), None)
    if theirs is None or ours is None or ours.suite != theirs.suite:
        raise NoAgreement("The answer has no key")
    return replace(agreed, suite=ours.suite, our_key=ours.key, their_key=theirs.key)


def _take(
    section: AudioSection, taste: MediaTaste, place: Place, before: Agreed | None
) -> tuple[Agreed, AudioSection] | None:
    secure = _is_secure(section)
    if section.protocol not in (*_PLAIN, *_SECURE) or (taste.srtp == "required" and not secure):
        return None
    if secure and taste.srtp == "off":
        return None
    codec = _choose(section, taste)
    theirs = next((one for suite in _SUITES for one in section.crypto if one.suite == suite), None)
    if codec is None or (secure and theirs is None):
        return None
    agreed = _agreed(section, codec)
    ours: tuple[Crypto, ...] = ()
    if secure and theirs is not None:
        kept = before is not None and before.suite == theirs.suite
        key = before.our_key if before is not None and kept else place.new_key(KEY_BYTES[theirs.suite])
        ours = (Crypto(theirs.tag, theirs.suite, key),)
        agreed = replace(agreed, suite=theirs.suite, our_key=key, their_key=theirs.key)
    numbers = (agreed.payload_type, agreed.event_type, agreed.noise_type)
    answer = AudioSection(
        port=place.port,
        protocol=section.protocol,
        host="",
        formats=tuple(_mirrored(one) for one in section.formats if one.number in numbers),
        direction=agreed.direction,
        crypto=ours,
        rtcp_port=None if section.rtcp_mux else place.rtcp_port,
        rtcp_mux=section.rtcp_mux,
        ptime_ms=20,
    )
    return agreed, answer


def _choose(section: AudioSection, taste: MediaTaste) -> tuple[CodecName, Format] | None:
    """The first codec of theirs that is ours too: their order is a wish (RFC 3264 section 6.1)."""
    ours: dict[str, CodecName] = {codec: codec for codec in taste.codecs}
    for one in section.formats:
        codec = ours.get(one.name)
        if codec is not None and one.clock_hz == _OFFERED[codec].clock_hz:
            return codec, one
    return None


def _agreed(section: AudioSection, codec: tuple[CodecName, Format]) -> Agreed:
    name, chosen = codec
    events = [one for one in section.formats if one.name == "telephone-event"]
    event = next((one for one in events if one.clock_hz == chosen.clock_hz), next(iter(events), None))
    noise = next((one for one in section.formats if one.name == "cn" and one.clock_hz == 8_000), None)
    rtcp_port = section.port if section.rtcp_mux else section.rtcp_port or section.port + 1
    return Agreed(
        codec=name,
        payload_type=chosen.number,
        host=section.host,
        port=section.port,
        direction=_MIRRORED.get(section.direction, section.direction),
        event_type=None if event is None else event.number,
        event_clock_hz=8_000 if event is None else event.clock_hz,
        noise_type=noise.number if noise is not None and name in ("pcmu", "pcma") else None,
        rtcp_port=rtcp_port if rtcp_port <= 65_535 else None,
        held=section.on_hold,
    )


def _mirrored(one: Format) -> Format:
    if one.name == "opus":
        return replace(one, parameters="useinbandfec=1")
    return replace(one, parameters="0-15") if one.name == "telephone-event" else one


def _is_secure(section: AudioSection) -> bool:
    return section.protocol in _SECURE


def _refused(section: AudioSection | Other) -> AudioSection | Other:
    if isinstance(section, Other):
        return section
    return replace(section, port=0)
