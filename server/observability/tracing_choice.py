"""Whether spans are wanted, by the settings: the implementation is imported only where they are.

Driven by ``server.host``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from server.observability.tracing import Tracing
from server.settings import Settings, SettingsError


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
