"""A finding of ``doctor``: one thing that was looked at, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """``wrong`` stands in the way of a conversation; ``note`` is worth knowing. ``figures`` are what was measured."""

    what: str
    verdict: Literal["ok", "note", "wrong"]
    found: str
    mend: str = ""
    figures: dict[str, int] = field(default_factory=dict[str, int])
