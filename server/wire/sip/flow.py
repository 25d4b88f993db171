"""Where a SIP message came from, or goes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Transport = Literal["UDP", "TCP", "TLS"]


@dataclass(frozen=True, slots=True)
class Flow:
    """A peer's numeric address over one transport; ``connection`` names the stream, 0 where there is none (yet).

    ``name`` is the host's, where it was looked up: over TLS its certificate is held to that.
    """

    transport: Transport
    host: str
    port: int
    connection: int = 0
    name: str = field(default="", compare=False)

    @property
    def reliable(self) -> bool:
        """Whether nothing sent this way is lost on its own."""
        return self.transport != "UDP"
