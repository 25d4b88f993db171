"""Headers that a request to a provider carries along for whoever watches: the turn's place in a distributed trace.

Owns two context variables: who knows the headers (set at the edge, for all tasks of a conversation) and which turn a
task works for (set by the task's owner). Knows no tracing library; read by models that speak HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

HeadersOf = Callable[[str], Mapping[str, str]]
"""The headers for the requests of a turn, by its id; none where it is not traced."""

CARRIED: Final[ContextVar[HeadersOf | None]] = ContextVar("convergio_carried", default=None)
TURN: Final[ContextVar[str | None]] = ContextVar("convergio_turn", default=None)


def carried_headers() -> dict[str, Any]:
    """``extra_headers`` for a request that this task makes, as the ``openai`` SDK takes them; empty for none."""
    headers_of, turn_id = CARRIED.get(), TURN.get()
    if headers_of is None or turn_id is None:
        return {}
    headers = dict(headers_of(turn_id))
    return {"extra_headers": headers} if headers else {}
