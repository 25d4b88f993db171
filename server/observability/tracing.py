"""The tracing port: what a conversation's events are told to, where spans are wanted.

Owns the port; ``server.observability.otel`` is the one implementation, chosen in ``tracing_choice`` beside it.
Driven by ``server.observability.session_watch``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agents.events import ServerEvent
from server.observability.arrival import Arrival


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose conversation it is, as spans name it."""

    session_id: str
    agent_id: str
    agent_name: str
    tenant_id: str
    words: bool = True
    """Whether what is said may stand in spans, where the operator turned transcripts on."""


class SessionTrace(Protocol):
    """The spans of one conversation. Never waits, never raises for what it is told."""

    def observe(self, event: ServerEvent) -> None:
        """An event of the conversation was sent."""
        ...

    def headers(self, turn_id: str) -> Mapping[str, str]:
        """What requests of this turn carry along: ``traceparent``, ``tracestate``."""
        ...

    def exemplar(self, turn_id: str | None) -> Mapping[str, str] | None:
        """The labels by which a measurement leads to its trace; ``None`` where that is not sampled."""
        ...

    def end(self, error_code: str | None = None) -> None:
        """The conversation is over; what is still open ends now."""
        ...


class Tracing(Protocol):
    """Where all spans of this server go."""

    def session(self, subject: Subject, arrival: Arrival) -> SessionTrace:
        """The trace of a conversation that begins."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Spans so far by fate: ``made``, ``exported``, ``failed``, ``dropped``."""
        ...

    async def aclose(self) -> None:
        """Send what waits, within a limit, and stop."""
        ...
