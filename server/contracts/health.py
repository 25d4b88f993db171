"""Whether the server lives and can do its work: ``GET /healthz`` and ``GET /readyz``."""

from __future__ import annotations

from typing import Literal

from server.contracts.base import Contract, ServerId

Stage = Literal["vad", "endpoint", "stt", "llm", "tts"]


class HealthResponse(Contract):
    """The process answers. Says nothing about engines."""

    request_id: ServerId
    status: Literal["ok"] = "ok"
    version: str


class EngineHealth(Contract):
    """The engine of one stage."""

    stage: Stage
    provider: str
    model: str
    status: Literal["ready", "loading", "degraded", "missing"]
    reason: str | None = None
    """Why it is not simply ready, and how to mend it."""


class DegradedReason(Contract):
    """Something gave way to something lesser."""

    stage: Stage
    reason: str


class ReadyResponse(Contract):
    """Whether sessions are taken. `starting` and `draining` answer with status 503, the others with 200."""

    request_id: ServerId
    status: Literal["ready", "degraded", "starting", "draining"]
    version: str
    engines: tuple[EngineHealth, ...]
    degraded: tuple[DegradedReason, ...] = ()
