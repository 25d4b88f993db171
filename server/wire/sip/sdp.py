"""SDP as telephony uses it: text to values and back (RFC 4566, RFC 8866; RFC 4568 for keys).

Tolerant when read: lines it does not know are passed over. Knows nothing of who takes what: that is ``offer_answer``.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from server.wire.sip.errors import SipSyntaxError

MAX_SDP_BYTES: Final = 16 * 1_024
_MAX_SECTIONS: Final = 16
_MAX_FORMATS: Final = 64
_MEDIA: Final = re.compile(r"(\S+) (\d{1,5})(?:/\d+)? (\S+)(?: (\S.*))?")
_CONNECTION: Final = re.compile(r"IN IP[46] ([0-9A-Za-z:.\-]+)(?:/\d+)*")
_CRYPTO: Final = re.compile(r"(\d{1,9})\s+(\S+)\s+inline:([A-Za-z0-9+/=]+)(\|\S*)?(?:\s+(.*))?")

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Suite = Literal["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"]
_DIRECTIONS: Final[tuple[Direction, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")

KEY_BYTES: Final[dict[Suite, int]] = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
"""Master key and salt of each suite."""

STATIC_FORMATS: Final = {0: ("pcmu", 8_000), 8: ("pcma", 8_000), 9: ("g722", 8_000), 13: ("cn", 8_000)}
"""Payload types that need no rtpmap (RFC 3551 table 4)."""


@dataclass(frozen=True, slots=True)
class Format:
    """One payload type: ``name`` in lower case, its RTP clock, its format parameters."""

    number: int
    name: str
    clock_hz: int
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One SDES key: ``a=crypto``. ``key`` is master key and salt."""

    tag: int
    suite: Suite
    key: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True)
class AudioSection:
    """An audio section. ``host`` is the address its packets go to; empty where none is said."""

    port: int
    protocol: str
    host: str
    formats: tuple[Format, ...]
    direction: Direction = "sendrecv"
    crypto: tuple[Crypto, ...] = ()
    rtcp_port: int | None = None
    rtcp_mux: bool = False
    ptime_ms: int | None = None

    @property
    def on_hold(self) -> bool:
        """Whether the other side listens to nothing of ours (RFC 3264 section 8.4, and its older form)."""
        return self.direction in ("sendonly", "inactive") or self.host in ("0.0.0.0", "::")  # noqa: S104


@dataclass(frozen=True, slots=True)
class Other:
    """A section that is refused, as it must be mirrored."""

    kind: str
    protocol: str
    formats: str


@dataclass(frozen=True, slots=True)
class Description:
    """A session: its sections in order."""

    sections: tuple[AudioSection | Other, ...]


def parse_sdp(body: bytes) -> Description:
    """Raises SipSyntaxError."""
    if len(body) > MAX_SDP_BYTES:
        raise SipSyntaxError("the description is too long")
    text = body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.strip() for line in text.split("\n")]
    if not lines or lines[0] != "v=0":
        raise SipSyntaxError("this is no description")
    starts = [at for at, line in enumerate(lines) if line.startswith("m=")]
    if len(starts) > _MAX_SECTIONS:
        raise SipSyntaxError("the description has too many sections")
    session = lines[: starts[0]] if starts else lines
    blocks = [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=False)]
    return Description(tuple(_section(block, session) for block in blocks))


def _section(lines: list[str], session: list[str]) -> AudioSection | Other:
    match = _MEDIA.fullmatch(lines[0][2:])
    if match is None or int(match[2]) > 65_535:
        raise SipSyntaxError("a media line is malformed")
    kind, port, protocol, listed = match[1].lower(), int(match[2]), match[3].upper(), match[4] or ""
    if kind != "audio":
        return Other(match[1], match[3], listed)
    attributes = [line[2:] for line in lines if line.startswith("a=")]
    inherited = [line[2:] for line in session if line.startswith("a=")]
    return AudioSection(
        port=port,
        protocol=protocol,
        host=_host(lines) or _host(session),
        formats=_formats(listed, attributes),
        direction=_direction(attributes) or _direction(inherited) or "sendrecv",
        crypto=tuple(_cryptos(attributes)),
        rtcp_port=_number(_value(attributes, "rtcp"), 65_535),
        rtcp_mux="rtcp-mux" in attributes,
        ptime_ms=_number(_value(attributes, "ptime"), 1_000),
    )


def _host(lines: list[str]) -> str:
    for line in lines:
        match = _CONNECTION.fullmatch(line[2:]) if line.startswith("c=") else None
        if match is not None:
            return match[1] if _is_address(match[1]) else ""
    return ""


def _is_address(host: str) -> bool:
    """Names are not looked up for a stranger: their packets show where they are."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _formats(listed: str, attributes: list[str]) -> tuple[Format, ...]:
    numbers = [
        int(word) for word in listed.split()[:_MAX_FORMATS] if word.isascii() and word.isdigit() and len(word) < 4
    ]
    maps = dict(_numbered(attributes, "rtpmap:"))
    parameters = dict(_numbered(attributes, "fmtp:"))
    found: list[Format] = []
    for number in dict.fromkeys(numbers):
        name, clock_hz = STATIC_FORMATS.get(number, ("", 0))
        if number in maps:
            name, _, rest = maps[number].partition("/")
            clock_hz = _number(rest.partition("/")[0], 192_000) or 0
        if name and clock_hz and number < 128:
            found.append(Format(number, name.lower(), clock_hz, parameters.get(number, "")))
    return tuple(found)


def _numbered(attributes: list[str], prefix: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for attribute in attributes:
        if attribute.startswith(prefix):
            number, _, rest = attribute[len(prefix) :].strip().partition(" ")
            if number.isascii() and number.isdigit() and len(number) < 4:
                found.append((int(number), rest.strip()))
    return found


def _direction(attributes: list[str]) -> Direction | None:
    return next((direction for direction in _DIRECTIONS if direction in attributes), None)


def _cryptos(attributes: list[str]) -> list[Crypto]:
    """Keys we can use: with session parameters or an index of master keys (MKI) we cannot."""
    found: list[Crypto] = []
    for attribute in attributes:
        match = _CRYPTO.fullmatch(attribute[7:].strip()) if attribute.startswith("crypto:") else None
        if match is None or match[2] not in KEY_BYTES or match[5] or ":" in (match[4] or ""):
            continue
        suite = cast("Suite", match[2])
        try:
            key = base64.b64decode(match[3], validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(key) == KEY_BYTES[suite]:
            found.append(Crypto(int(match[1]), suite, key))
    return found


def _value(attributes: list[str], name: str) -> str:
    prefix = f"{name}:"
    return next((one[len(prefix) :].strip() for one in attributes if one.startswith(prefix)), "")


def _number(text: str, largest: int) -> int | None:
    word = text.split(" ", maxsplit=1)[0]
    if not word.isascii() or not word.isdigit() or len(word) > 9:
        return None
    return value if (value := int(word)) <= largest else None


@dataclass(frozen=True, slots=True)
class Ours:
    """Who writes a description: where packets are to come, and its number of changes."""

    host: str
    session_id: int
    version: int


def write_sdp(ours: Ours, sections: tuple[AudioSection | Other, ...]) -> bytes:
    """A description; sections that are ``Other`` are refused (port 0)."""
    family = "IP6" if ":" in ours.host else "IP4"
    lines = [
        "v=0",
        f"o=- {ours.session_id} {ours.version} IN {family} {ours.host}",
        "s=-",
        f"c=IN {family} {ours.host}",
        "t=0 0",
    ]
    for section in sections:
        if isinstance(section, Other):
            lines.append(f"m={section.kind} 0 {section.protocol} {section.formats or '0'}")
        else:
            lines += _audio_lines(section)
    return "\r\n".join([*lines, ""]).encode()


def _audio_lines(section: AudioSection) -> list[str]:
    numbers = " ".join(str(one.number) for one in section.formats) or "0"
    lines = [f"m=audio {section.port} {section.protocol} {numbers}"]
    if not section.port:
        return lines
    for one in section.formats:
        channels = "/2" if one.name == "opus" else ""
        lines.append(f"a=rtpmap:{one.number} {_SPELLED.get(one.name, one.name.upper())}/{one.clock_hz}{channels}")
        if one.parameters:
            lines.append(f"a=fmtp:{one.number} {one.parameters}")
    lines += [f"a=crypto:{crypto}" for crypto in section.crypto]
    if section.ptime_ms is not None:
        lines.append(f"a=ptime:{section.ptime_ms}")
    if section.rtcp_mux:
        lines.append("a=rtcp-mux")
    elif section.rtcp_port is not None:
        lines.append(f"a=rtcp:{section.rtcp_port}")
    lines.append(f"a={section.direction}")
    return lines


_SPELLED: Final = {"opus": "opus", "telephone-event": "telephone-event"}
