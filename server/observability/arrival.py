"""How a conversation came to this server: over which transport, when, and as part of whose trace. A value.

Made by the transport, read by metrics, traces and the usage event. Transports are a closed set: they are labels.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.contracts.transport import Transport
from server.observability.trace_context import TraceParent, read_traceparent


@dataclass(frozen=True, slots=True)
class Arrival:
    """One conversation's beginning. ``at_s`` is the monotonic clock's."""

    transport: Transport
    parent: TraceParent | None = None
    at_s: float = field(default_factory=time.monotonic)


def arrival(transport: Transport, scope: Mapping[str, Any]) -> Arrival:
    """The beginning of a conversation whose request is ``scope`` (ASGI)."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    parent: str | None = None
    states: list[str] = []
    for name, value in headers:
        match name.lower():
            case b"traceparent":
                if parent is not None:  # two of them mean nothing (section 4.3)
                    return Arrival(transport)
                parent = value.decode("latin-1")
            case b"tracestate":
                states.append(value.decode("latin-1"))
            case _:
                pass
    return Arrival(transport, read_traceparent(parent, ",".join(states)))
