"""SIP and telephone URIs, and the addresses that hold them: ``"Ann" <sip:ann@example.org;transport=tcp>;tag=1``.

Values only (RFC 3261 sections 19.1 and 20.10, RFC 3966). Hosts are not resolved here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from server.wire.sip.errors import SipSyntaxError
from server.wire.sip.text import (
    TOKEN,
    Parameters,
    format_parameters,
    parameter,
    parse_parameters,
    quoted,
    unquoted,
    whole_number,
)

Scheme = Literal["sip", "sips", "tel"]

_MAX_CHARS: Final = 2_048
_HOST: Final = re.compile(r"[A-Za-z0-9\-._]+|\[[0-9A-Fa-f:.]+\]")
_USER: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()%&=+$,;?/#:]*")
_NUMBER: Final = re.compile(r"[+0-9A-Fa-f*#\-.()]+")


@dataclass(frozen=True, slots=True)
class SipUri:
    """``scheme:user@host:port;params?headers``; ``user`` is still escaped. A ``tel`` URI has its number as ``user``."""

    scheme: Scheme
    user: str
    host: str
    port: int | None = None
    params: Parameters = ()
    headers: str = ""

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user}{format_parameters(self.params)}"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        headers = f"?{self.headers}" if self.headers else ""
        return f"{self.scheme}:{user}{self.host}{port}{format_parameters(self.params)}{headers}"

    def param(self, name: str) -> str | None:
        """A parameter's value; empty where it has none, None where it is not there."""
        return parameter(self.params, name)

    @property
    def transport(self) -> str:
        """The transport it asks for, in capitals: UDP where it says nothing."""
        if self.scheme == "sips":
            return "TLS"
        return (self.param("transport") or "udp").upper()


def parse_uri(text: str) -> SipUri:
    """Raises SipSyntaxError for anything but a ``sip:``, ``sips:`` or ``tel:`` URI."""
    text = text.strip()
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or len(text) > _MAX_CHARS or not text.isprintable():
        raise SipSyntaxError("this is no URI")
    if scheme == "tel":
        number, _, params = rest.partition(";")
        if not _NUMBER.fullmatch(number):
            raise SipSyntaxError("this is no telephone number")
        return SipUri("tel", number, "", params=parse_parameters(params))
    if scheme not in ("sip", "sips"):
        raise SipSyntaxError("this scheme is not known")
    before, at, after = rest.rpartition("@")
    user = before if at else ""
    if not _USER.fullmatch(user) or (at and not user):
        raise SipSyntaxError("the user of a URI is malformed")
    place, _, headers = after.partition("?")
    place, _, params = place.partition(";")
    host, port = parse_host_port(place)
    return SipUri(cast("Scheme", scheme), user, host, port, parse_parameters(params), headers)


def parse_host_port(text: str) -> tuple[str, int | None]:
    """``host``, ``host:port`` or ``[address]:port``. Raises SipSyntaxError."""
    text = text.strip()
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        colon, port = rest[:1], rest[1:]
        if colon not in ("", ":"):
            raise SipSyntaxError("a host is malformed")
    else:
        host, colon, port = text.partition(":")
        host = host.strip()
    if not _HOST.fullmatch(host):
        raise SipSyntaxError("a host is malformed")
    return host, whole_number(port, 65_535) if colon else None


@dataclass(frozen=True, slots=True)
class Address:
    """A URI with a name before it and parameters behind it: From, To, Contact, Route, Refer-To."""

    uri: SipUri
    display: str = ""
    params: Parameters = ()

    def __str__(self) -> str:
        name = f"{quoted(self.display)} " if self.display else ""
        return f"{name}<{self.uri}>{format_parameters(self.params)}"

    @property
    def tag(self) -> str | None:
        """Which end of which dialog."""
        return parameter(self.params, "tag")

    def tagged(self, tag: str) -> Address:
        """The same with this tag."""
        rest = tuple(pair for pair in self.params if pair[0] != "tag")
        return Address(self.uri, self.display, (*rest, ("tag", tag)))


def parse_address(text: str) -> Address:
    """A name-addr or a bare URI, whose parameters are then the header's. Raises SipSyntaxError."""
    text = text.strip()
    if len(text) > 2 * _MAX_CHARS:
        raise SipSyntaxError("an address is too long")
    opening = _opening_bracket(text)
    if opening < 0:
        uri, semicolon, params = text.partition(";")
        return Address(parse_uri(uri), params=parse_parameters(params) if semicolon else ())
    inside, closing, rest = text[opening + 1 :].partition(">")
    rest = rest.strip()
    if not closing or (rest and not rest.startswith(";")):
        raise SipSyntaxError("an address is malformed")
    return Address(parse_uri(inside), _display(text[:opening].strip()), parse_parameters(rest[1:]))


def _opening_bracket(text: str) -> int:
    """Where the URI's bracket stands: behind a quoted name, which may hold brackets of its own."""
    if not text.startswith('"'):
        return text.find("<")
    at = 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return text.find("<", at)


def _display(text: str) -> str:
    if text.startswith('"'):
        if len(text) < 2 or not text.endswith('"'):
            raise SipSyntaxError("a quoted name does not end")
        return unquoted(text)
    if text and not all(TOKEN.fullmatch(word) or not word.isascii() for word in text.split()):
        raise SipSyntaxError("a name is malformed")
    return text
