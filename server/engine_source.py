"""What the server asks of its engines, and what a session is lent: the seam between ``server.host`` and the engines.

``server.engines.EngineSet`` is the real one; tests and benchmarks bring scripted ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agents.core.options import Engines
from server.engine_rules import Asked
from server.observability.metrics import Metrics
from server.stage_reports import StageReport


def _nothing() -> None:
    """Nothing was taken."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What one session works with. ``give_back`` when it is over; a second time does nothing. ``own``: it hears or
    speaks on a key of the tenant's own."""

    engines: Engines
    give_back: Callable[[], None] = _nothing
    own: bool = False


class EngineSource(Protocol):
    """Where the engines come from."""

    @property
    def reports(self) -> tuple[StageReport, ...]: ...

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        """What sessions work with that no rule concerns and whose tenant brings no account."""
        ...

    async def lease(self, asked: Asked, *, simple_language: bool = False) -> Lease:
        """What this session works with. Raises Refused where there is no room for its tenant's engines."""
        ...

    def watch(self, metrics: Metrics) -> None:
        """Publish what the engines measure of themselves."""
        ...

    async def load(self) -> None:
        """Make everything ready; returns when each engine is, or is given up."""
        ...

    async def tend(self) -> None:
        """Release what nobody uses any more, until cancelled."""
        ...

    async def aclose(self) -> None: ...
