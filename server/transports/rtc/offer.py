"""An SDP offer, read: what of it we can take, and why not if nothing (RFC 8866, RFC 8829, RFC 8843).

Tolerant of everything it does not need, strict about what connecting rests on. Pure: text in, values out; the only
exception is ``BadOffer``. A peer drives it; ``server.transports.rtc.description`` writes the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from server.transports.rtc.port import MAX_DESCRIPTION_BYTES, BadOffer

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup = Literal["actpass", "active", "passive"]

FINGERPRINT_HASHES: Final = ("sha-256", "sha-384", "sha-512")

_MEDIA_LINE: Final = re.compile(r"m=(\S+) ([0-9]{1,5})(?:/[0-9]+)? (\S+) (\S.*)")
_FINGERPRINT: Final = re.compile(r"([0-9A-Fa-f]{2}:){31,63}[0-9A-Fa-f]{2}")
_CREDENTIAL: Final = re.compile(r"[!-~]{4,256}")
_SECURE_AUDIO: Final = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/TLS/RTP/SAVPF")
_DATA: Final = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP")
_MID_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
_MAX_SECTIONS: Final = 64
_DEFAULT_MESSAGE_BYTES: Final = 65_536  # RFC 8841 section 6.1


@dataclass(frozen=True, slots=True)
class Section:
    """A media section as it must be mirrored in the answer, taken or not."""

    kind: str
    protocol: str
    formats: str
    mid: str | None


@dataclass(frozen=True, slots=True)
class OfferedAudio:
    """The audio section taken. ``fec`` and ``max_bitrate_bps`` are its receiver's wishes (RFC 7587 section 6.1)."""

    section: int
    payload_type: int
    direction: Direction
    fec: bool
    max_bitrate_bps: int | None
    mid_extension: int | None


@dataclass(frozen=True, slots=True)
class OfferedData:
    """The data channel section taken. ``max_message_bytes`` is what the other side takes, 0 for any length."""

    section: int
    sctp_port: int
    max_message_bytes: int
    legacy: bool


@dataclass(frozen=True, slots=True)
class OfferedTransport:
    """How the other side is reached. ``candidates`` are the values of its candidate lines."""

    ufrag: str
    password: str = field(repr=False)
    ice_lite: bool
    fingerprints: tuple[tuple[str, str], ...]
    setup: Setup
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """All of an offer that an answer needs; audio and data channel share the one transport."""

    sections: tuple[Section, ...]
    audio: OfferedAudio | None
    data: OfferedData | None
    transport: OfferedTransport


class _Lines:
    """The attributes of a section or of the session, in order."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._attributes = [
            (name, value) for line in lines if line.startswith("a=") for name, _, value in (line[2:].partition(":"),)
        ]

    def all(self, name: str) -> list[str]:
        return [value.strip() for key, value in self._attributes if key == name]

    def first(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def has(self, name: str) -> bool:
        return any(key == name for key, _ in self._attributes)


@dataclass(frozen=True, slots=True)
class _Media:
    section: Section
    port: int
    lines: _Lines

    @property
    def usable(self) -> bool:
        return self.port != 0 or self.lines.has("bundle-only")


def parse_offer(text: str) -> Offer:
    """Read an offer. Raises BadOffer, saying in a sentence what is wrong or missing."""
    if len(text) > MAX_DESCRIPTION_BYTES or len(text.encode(errors="replace")) > MAX_DESCRIPTION_BYTES:
        raise BadOffer(f"The offer is longer than {MAX_DESCRIPTION_BYTES} bytes.")
    if not text.startswith("v=0"):
        raise BadOffer("This is not an SDP offer: it must begin with v=0.")
    session, media = _split(text.replace("\r\n", "\n").split("\n"))
    audio = next((at for at, one in enumerate(media) if one.section.kind == "audio" and one.usable), None)
    data = next((at for at, one in enumerate(media) if _is_data(one) and one.usable), None)
    taken = sorted(at for at in (audio, data) if at is not None)
    if not taken:
        raise BadOffer("The offer has neither audio nor a data channel.")
    if len(taken) > 1:
        _require_bundled(session, [media[at] for at in taken])
    first = media[_first_of_bundle(session, media, taken)]
    return Offer(
        sections=tuple(one.section for one in media),
        audio=None if audio is None else _read_audio(audio, media[audio]),
        data=None if data is None else _read_data(data, media[data]),
        transport=_read_transport(session, first),
    )


@dataclass(frozen=True, slots=True)
class Fragment:
    """Candidates that came by themselves; ``ufrag`` is the generation they belong to, None where it is not said."""

    ufrag: str | None
    candidates: tuple[str, ...]


def parse_fragment(text: str) -> Fragment:
    """Read candidates that trickle (RFC 8840 section 9), or a browser's bare ``candidate:`` lines. Raises BadOffer."""
    if len(text) > MAX_DESCRIPTION_BYTES:
        raise BadOffer(f"The candidates are longer than {MAX_DESCRIPTION_BYTES} bytes.")
    lines = [f"a={line}" if line.startswith("candidate:") else line for line in text.replace("\r", "").split("\n")]
    attributes = _Lines(lines)
    return Fragment(attributes.first("ice-ufrag"), tuple(value for value in attributes.all("candidate") if value))


def _split(lines: Sequence[str]) -> tuple[_Lines, list[_Media]]:
    starts = [at for at, line in enumerate(lines) if line.startswith("m=")]
    if len(starts) > _MAX_SECTIONS:
        raise BadOffer(f"The offer has more than {_MAX_SECTIONS} media sections.")
    media: list[_Media] = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        match = _MEDIA_LINE.fullmatch(lines[start].strip())
        if match is None:
            raise BadOffer("A media line of the offer cannot be read.")
        kind, port, protocol, formats = match.groups()
        attributes = _Lines(lines[start + 1 : end])
        media.append(_Media(Section(kind, protocol, formats, attributes.first("mid")), int(port), attributes))
    return _Lines(lines[: starts[0]] if starts else lines), media


def _is_data(media: _Media) -> bool:
    section = media.section
    if section.kind != "application" or section.protocol not in _DATA:
        return False
    return section.formats == "webrtc-datachannel" or media.lines.has("sctpmap")


def _bundles(session: _Lines) -> list[list[str]]:
    return [words[1:] for words in map(str.split, session.all("group")) if words and words[0] == "BUNDLE"]


def _require_bundled(session: _Lines, media: Sequence[_Media]) -> None:
    mids = {one.section.mid for one in media}
    if not any(mids <= set(bundle) for bundle in _bundles(session)):
        raise BadOffer("Audio and data channel must share one transport (BUNDLE).")


def _first_of_bundle(session: _Lines, media: Sequence[_Media], taken: Sequence[int]) -> int:
    """The section whose transport is used: the first of those taken, in the order of their BUNDLE group."""
    for bundle in _bundles(session):
        for mid in bundle:
            for at in taken:
                if media[at].section.mid == mid:
                    return at
    return taken[0]


def _read_audio(at: int, media: _Media) -> OfferedAudio:
    lines = media.lines
    if media.section.protocol not in _SECURE_AUDIO:
        raise BadOffer("Audio must be encrypted (UDP/TLS/RTP/SAVPF).")
    if not lines.has("rtcp-mux"):
        raise BadOffer("RTCP must share the port of RTP (rtcp-mux).")
    payload_type = _opus_payload_type(media)
    if payload_type is None:
        raise BadOffer("The offered audio has no Opus (opus/48000/2).")
    format_parameters = _format_parameters(lines, payload_type)
    bitrate = _number(format_parameters.get("maxaveragebitrate"), 510_000)
    return OfferedAudio(
        section=at,
        payload_type=payload_type,
        direction=_direction(lines),
        fec=format_parameters.get("useinbandfec") == "1",
        max_bitrate_bps=None if bitrate is None else max(6_000, bitrate),
        mid_extension=_mid_extension(lines),
    )


def _opus_payload_type(media: _Media) -> int | None:
    offered = media.section.formats.split()
    for value in media.lines.all("rtpmap"):
        number, _, encoding = value.partition(" ")
        if encoding.strip().lower() == "opus/48000/2" and number in offered:
            return _number(number, 127)
    return None


def _format_parameters(lines: _Lines, payload_type: int) -> dict[str, str]:
    for value in lines.all("fmtp"):
        number, _, parameters = value.partition(" ")
        if number == str(payload_type):
            pairs = (parameter.partition("=") for parameter in parameters.split(";"))
            return {name.strip().lower(): setting.strip() for name, _, setting in pairs}
    return {}


def _direction(lines: _Lines) -> Direction:
    directions: tuple[Direction, ...] = ("sendonly", "recvonly", "inactive")
    for direction in directions:
        if lines.has(direction):
            return direction
    return "sendrecv"


def _mid_extension(lines: _Lines) -> int | None:
    for value in lines.all("extmap"):
        number, _, uri = value.partition(" ")
        if uri.split(" ")[0] == _MID_EXTENSION:
            return _number(number.partition("/")[0], 255)
    return None


def _read_data(at: int, media: _Media) -> OfferedData:
    legacy = media.section.formats != "webrtc-datachannel"
    port = (media.lines.first("sctpmap") or "").split(" ")[0] if legacy else media.lines.first("sctp-port")
    size = _number(media.lines.first("max-message-size"), 1 << 32)
    return OfferedData(
        section=at,
        sctp_port=_number(port, 65_535) or 5_000,
        max_message_bytes=_DEFAULT_MESSAGE_BYTES if size is None else size,
        legacy=legacy,
    )


def _read_transport(session: _Lines, media: _Media) -> OfferedTransport:
    lines = media.lines
    ufrag = lines.first("ice-ufrag") or session.first("ice-ufrag") or ""
    password = lines.first("ice-pwd") or session.first("ice-pwd") or ""
    if not _CREDENTIAL.fullmatch(ufrag) or not _CREDENTIAL.fullmatch(password):
        raise BadOffer("The offer has no ICE credentials (ice-ufrag and ice-pwd).")
    setup = lines.first("setup") or session.first("setup") or "actpass"
    if setup not in ("actpass", "active", "passive"):
        raise BadOffer("The offered DTLS role (setup) must be actpass, active or passive.")
    return OfferedTransport(
        ufrag=ufrag,
        password=password,
        ice_lite=session.has("ice-lite"),
        fingerprints=_fingerprints(lines.all("fingerprint") or session.all("fingerprint")),
        setup=setup,
        candidates=tuple(lines.all("candidate")),
    )


def _fingerprints(values: Iterable[str]) -> tuple[tuple[str, str], ...]:
    pairs = [(name.lower(), digest.strip()) for name, _, digest in (value.partition(" ") for value in values)]
    known = [(name, digest.upper()) for name, digest in pairs if name in FINGERPRINT_HASHES]
    if not known or not all(_FINGERPRINT.fullmatch(digest) for _, digest in known):
        raise BadOffer("The offer has no certificate fingerprint we know (sha-256, sha-384 or sha-512).")
    return tuple(dict.fromkeys(known))


def _number(text: str | None, largest: int) -> int | None:
    """A decimal number from 0 to ``largest``, or None."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    return value if (value := int(text)) <= largest else None
