"""The tracing port: what a conversation's events are told to, where spans are wanted.

Owns the port and its choice; ``server.observability.otel`` is the one implementation and is imported only when tracing
is on. Driven by ``server.observability.session_watch``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from agents.events import ServerEvent
from server.observability.arrival import Arrival
from server.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose conversation it is, as spans name it."""

    session_id: str
    agent_id: str
    agent_name: str
    tenant_id: str


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


def make_tracing(settings: Settings) -> Tracing | None:
    """Tracing as the settings have it; ``None`` where it is off.

    Raises:
        SettingsError: it is on, and its packages are not installed.
    """
    if not settings.telemetry.enabled:
        return None
    try:
        module = import_module("server.observability.otel")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        words = 'telemetry.enabled needs the extra "telemetry" (EXTRA=telemetry make run), or be false.'
        raise SettingsError((words,)) from error
    make: Callable[..., Any] = module.OtelTracing
    return make(settings.telemetry, transcripts=settings.log.transcripts)
