"""How often each stage took how long: the exact distribution of many turns' ``latency_ms``, counted without parsing.

Pure. The ledger writes ``{"stt":118,"total":512}`` (``metering.codec.dumps``); its members are counted as they are
written and only the different ones are read, of which there are few. Parsing a hundred thousand objects takes longer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

AT_ONCE: Final = 500
"""Objects counted in one go: a long call would keep the interpreter from the threads that carry audio."""


@dataclass(slots=True)
class LatencyCounts:
    """Turns, whether there were more than were read, and by stage how many took so many milliseconds."""

    turns: int = 0
    truncated: bool = False
    by_stage: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])

    def add(self, stage: str, ms: int, turns: int) -> None:
        """So many turns' ``stage`` took ``ms``."""
        counts = self.by_stage.setdefault(stage, {})
        counts[ms] = counts.get(ms, 0) + turns


def counted(objects: Sequence[Mapping[str, int]], most: int) -> LatencyCounts:
    """The first ``most`` of these."""
    taken = objects[:most]
    counts = LatencyCounts(len(taken), len(objects) > most)
    for stages in taken:
        for stage, ms in stages.items():
            counts.add(stage, ms, 1)
    return counts


def counted_texts(texts: Sequence[str], most: int) -> LatencyCounts:
    """The same, of compact JSON objects that are not empty."""
    taken = texts[:most]
    members: Counter[str] = Counter()
    for start in range(0, len(taken), AT_ONCE):
        joined = "".join(taken[start : start + AT_ONCE]).replace("}{", ",")
        members.update(joined[1:-1].split(","))
    counts = LatencyCounts(len(taken), len(texts) > most)
    for member, turns in members.items():
        for stage, ms in json.loads(f"{{{member}}}").items():
            counts.add(stage, ms, turns)
    return counts
