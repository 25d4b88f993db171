"""When to tell a user about their microphone: once per fault, and again only if it went away and came back.

Driven by the session with every chunk; looks at the measures once a second of audio.
"""

from __future__ import annotations

from typing import Final

from agents.events import AudioQuality
from audio.quality import QualityKind, QualityMeter, issues

CHECK_EVERY_MS: Final = 1_000


class QualityWatch:
    """Turns running measures into at most one event per new fault."""

    def __init__(self) -> None:
        self._next_check_ms = CHECK_EVERY_MS
        self._told: frozenset[QualityKind] = frozenset()

    def check(self, meter: QualityMeter, now_ms: int) -> list[AudioQuality]:
        """What is newly wrong at ``now_ms`` of audio."""
        if now_ms < self._next_check_ms:
            return []
        self._next_check_ms = now_ms + CHECK_EVERY_MS
        measures = meter.snapshot()
        found = issues(measures)
        new = [issue for issue in found if issue.kind not in self._told]
        self._told = frozenset(issue.kind for issue in found)
        return [AudioQuality(issue.kind, issue.message, measures.as_mapping()) for issue in new]
