"""The Via header: the way a response goes back (RFC 3261 sections 18.2 and 20.42, RFC 3581)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from server.wire.sip.errors import SipSyntaxError
from server.wire.sip.text import Parameters, format_parameters, parameter, parse_parameters
from server.wire.sip.uri import parse_host_port

MAGIC: Final = "z9hG4bK"
_PROTOCOL: Final = re.compile(r"SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*([A-Za-z0-9\-]+)[ \t]+(\S.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Via:
    """One hop: ``SIP/2.0/UDP host:port;branch=...``."""

    transport: str
    host: str
    port: int | None
    params: Parameters

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{format_parameters(self.params)}"

    @property
    def branch(self) -> str:
        """The transaction it belongs to; empty where an old implementation gave none."""
        return parameter(self.params, "branch") or ""

    @property
    def unique(self) -> bool:
        """Whether the branch tells transactions apart by itself."""
        return self.branch.startswith(MAGIC) and len(self.branch) > len(MAGIC)

    def came_from(self, host: str, port: int) -> Via:
        """As whoever received it notes where it came from (``received``, and ``rport`` where that was asked for)."""
        params = tuple(
            (name, str(port) if name == "rport" else value) for name, value in self.params if name != "received"
        )
        asked = parameter(self.params, "rport") is not None
        if asked or self.host.strip("[]") != host:
            params = (*params, ("received", host))
        return replace(self, params=params)

    def answer_to(self, default_port: int) -> tuple[str, int]:
        """Where a response over UDP goes: (host, port)."""
        host = parameter(self.params, "received") or self.host.strip("[]")  # no maddr: it sends answers to strangers
        rport = parameter(self.params, "rport")
        if rport and rport.isdigit() and int(rport) <= 65_535:
            return host, int(rport)
        return host, self.port or default_port


def parse_via(text: str) -> Via:
    """One value of a Via header. Raises SipSyntaxError."""
    match = _PROTOCOL.fullmatch(text.strip())
    if match is None:
        raise SipSyntaxError("a Via is malformed")
    place, _, params = match[2].partition(";")
    host, port = parse_host_port(re.sub(r"[ \t]*:[ \t]*", ":", place) if "[" not in place else place)
    return Via(match[1].upper(), host, port, parse_parameters(params))
