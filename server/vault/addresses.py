"""Where tenants' keys may be used: public addresses only, unless the operator allows a host.

A tenant names addresses that this server then connects to. Private networks, loopback, link-local and the metadata
services of clouds stay out of reach (https://cheatsheetseries.owasp.org, "Server-Side Request Forgery Prevention"):
every address of a name must be public, and the connection is made to one of those that were looked at
(``agents.models.pinned``). Plain HTTP is for allowed hosts only. Knows no provider.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

import anyio

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

RESOLVE_LIMIT_S: Final = 5.0
MOST_CHARACTERS: Final = 500
_PLAIN: Final = re.compile(r"[!-\[\]-~]+")
_PLATFORM: Final = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Azure's own, on every machine there, though the address is a public one
(https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16)."""
_ASSIGNED: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "5f00::/16", "3fff::/20")))
"""Nobody's hosts, though not every version of ``ipaddress`` says so (RFC 6890); 192.0.0.192 is Oracle's metadata."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
AZURE_DOMAINS: Final = tuple(
    f".{service}.{cloud}"
    for service, cloud in (
        ("cognitiveservices", "azure.com"),
        ("openai", "azure.com"),
        ("services.ai", "azure.com"),
        ("api.cognitive", "microsoft.com"),
        ("speech", "microsoft.com"),
        ("cognitiveservices", "azure.us"),
        ("openai", "azure.us"),
        ("api.cognitive", "microsoft.us"),
        ("cognitiveservices", "azure.cn"),
        ("openai", "azure.cn"),
        ("api.cognitive", "azure.cn"),
    )
)
"""Under which Azure's own services are, and nothing a customer runs there (as under cloudapp.azure.com): what reaches
them looks names up by itself (the Speech SDK), so the name is what is checked."""


class AddressRefused(Exception):
    """A tenant may not have this server connect there. The message is a sentence for the tenant."""


class Addresses:
    """The rules of one server."""

    def __init__(self, private_hosts: Iterable[str], resolve: Resolve | None = None) -> None:
        """``private_hosts`` are reached wherever they are: ``localhost``, ``10.0.0.7``, ``models.school.internal``."""
        self._allowed = frozenset(host.lower().strip("[]") for host in private_hosts)
        self._resolve = resolve or _resolve

    def url(self, text: str, *, azure: bool = False) -> SplitResult:
        """An address a tenant gave, taken apart. With ``azure`` it must be one of Azure's. Raises AddressRefused."""
        parts = _parts(text)
        host = (parts.hostname or "").lower()
        if host in self._allowed:
            if parts.scheme not in ("https", "http", "wss", "ws"):
                raise AddressRefused("The address must begin with https://.")
            return parts
        if parts.scheme not in ("https", "wss"):
            raise AddressRefused("The address must begin with https://.")
        if azure and not host.endswith(AZURE_DOMAINS):
            raise AddressRefused("The address must be one of Azure's own (https://NAME.cognitiveservices.azure.com).")
        if (literal := _literal(host)) is not None and not is_public(literal):
            raise AddressRefused("The address is not on the public Internet.")
        return parts

    async def address_of(self, host: str, port: int) -> str:
        """The address to connect to. Raises AddressRefused where any of the host's is not public, or there is none."""
        try:
            with anyio.fail_after(RESOLVE_LIMIT_S):
                found = await self._resolve(host, port)
        except (OSError, UnicodeError, TimeoutError):
            raise AddressRefused("The address's host is not known.") from None
        if not found:
            raise AddressRefused("The address's host is not known.")
        if host.lower() not in self._allowed:
            for each in found:
                if not is_public(ipaddress.ip_address(each.partition("%")[0])):
                    raise AddressRefused("The address is not on the public Internet.")
        return next((each for each in found if ":" not in each), found[0])


def is_public(address: IpAddress) -> bool:
    """Whether it is a host's on the public Internet, also where it is an IPv4 address in an IPv6 one's clothes."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or int(address) >> 32 == 0:  # tunnelled, or IPv4-compatible
            return False
    if address in _PLATFORM or any(address in network for network in _ASSIGNED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _parts(text: str) -> SplitResult:
    """What is plainly an address, taken apart: nothing that two readers may read differently. Raises AddressRefused."""
    if len(text) > MOST_CHARACTERS or _PLAIN.fullmatch(text) is None:
        raise AddressRefused("That is not an address.")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise AddressRefused("That is not an address.") from None
    if "@" in parts.netloc:
        raise AddressRefused("The address must not hold a name or password.")
    if "?" in text or "#" in text:
        raise AddressRefused("The address must have neither ? nor #.")
    if not host:
        raise AddressRefused("The address must name a host.")
    return parts


def _literal(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def _resolve(host: str, port: int) -> list[str]:
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
