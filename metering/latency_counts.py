"""How often each stage took how long, and what was done where it was late: many turns' ``latency_ms``, counted without
parsing, and their ``breaches``.

Pure. The ledger writes ``{"stt":118,"total":512}`` (``metering.codec.dumps``); its members are counted as they are
written and only the different ones are read, of which there are few. Parsing a hundred thousand objects takes longer.
Only turns that name a breach are parsed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

AT_ONCE: Final = 500
"""Objects counted in one go: a long call would keep the interpreter from the threads that carry audio."""
NOTHING: Final = "{}"
"""The text of an object without members."""


@dataclass(slots=True)
class LatencyCounts:
    """Turns, whether there were more than were read, and by stage how many took so many milliseconds.

    ``breaches`` are turns by stage and action, ``breached`` the milliseconds (as in ``by_stage``) of those among them.
    """

    turns: int = 0
    truncated: bool = False
    by_stage: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    breaches: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    breached: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])

    def add(self, stage: str, ms: int, turns: int) -> None:
        """So many turns' ``stage`` took ``ms``."""
        counts = self.by_stage.setdefault(stage, {})
        counts[ms] = counts.get(ms, 0) + turns

    def note_breaches(self, latency_ms: Mapping[str, int], breaches: Mapping[str, str]) -> None:
        """One turn's breaches."""
        for stage, action in breaches.items():
            actions = self.breaches.setdefault(stage, {})
            actions[action] = actions.get(action, 0) + 1
            if stage in latency_ms:
                counts, ms = self.breached.setdefault(stage, {}), latency_ms[stage]
                counts[ms] = counts.get(ms, 0) + 1


def counted(turns: Sequence[tuple[Mapping[str, int], Mapping[str, str]]], most: int) -> LatencyCounts:
    """The first ``most`` of these: each turn's ``latency_ms`` and ``breaches``."""
    taken = turns[:most]
    counts = LatencyCounts(len(taken), len(turns) > most)
    for latency_ms, breaches in taken:
        for stage, ms in latency_ms.items():
            counts.add(stage, ms, 1)
        counts.note_breaches(latency_ms, breaches)
    return counts


def counted_texts(turns: Sequence[tuple[str, str]], most: int) -> LatencyCounts:
    """The same, of JSON objects as text."""
    taken = turns[:most]
    counts = LatencyCounts(len(taken), len(turns) > most)
    members: Counter[str] = Counter()
    for start in range(0, len(taken), AT_ONCE):
        some = taken[start : start + AT_ONCE]
        joined = "".join(latency_ms for latency_ms, _ in some if latency_ms != NOTHING).replace("}{", ",")
        members.update(joined[1:-1].split(",") if joined else ())
        late = [each for each in some if each[1] != NOTHING]
        for latency_ms, breaches in zip(*(_read(column) for column in zip(*late, strict=True)), strict=True):
            counts.note_breaches(latency_ms, breaches)
    for member, turns_of in members.items():
        for stage, ms in json.loads(f"{{{member}}}").items():
            counts.add(stage, ms, turns_of)
    return counts


def _read(texts: Sequence[str]) -> list[dict[str, Any]]:
    """All of these objects: at once, which takes less than half of the time."""
    return json.loads(f"[{','.join(texts)}]")
