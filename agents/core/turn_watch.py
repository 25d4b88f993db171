"""What one turn's stages took and may take, and what was done where one was late.

Owns the turn's marks, how much of its budget is left, and its breaches. A breach is told when something is done about
it, and, where nothing could be, when the first of the answer has left; each stage once. Owned by the turn; decides
nothing: who waits asks it for a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from agents.core.budget import Action, LatencyBudget, Stage, TurnTime
from agents.core.latency import LatencyMarks, Mark
from agents.latency_events import BreachAction, BudgetBreached, StageLatency, TurnLatency
from metering.usage import StageProvider

Workers = Mapping[str, StageProvider]
"""Engines by stage."""

BRIDGED: Final = 5
"""Deadlines that somebody who was told to wait is kept waiting, before the agent says that it cannot answer."""
GAP: Final = 3
LEAST_GAP_S: Final = 2.0
"""Deadlines that an answer may pause in the middle, and the least in seconds."""

UNDONE: Final[BreachAction] = "none"
"""In place of an action: the stage was late, and nothing was to be done."""


class TurnWatch:
    """See the module. ``marks`` hold the end of speech already; ``tell`` gets the turn's breaches as they happen."""

    def __init__(
        self,
        turn_id: str,
        marks: LatencyMarks,
        budget: LatencyBudget | None,
        monotonic_s: Callable[[], float],
        tell: Callable[[BudgetBreached], None],
    ) -> None:
        self.breaches: dict[Stage, BudgetBreached] = {}
        self._remedies: dict[Stage, BreachAction] = {}
        self._turn_id = turn_id
        self._marks = marks
        self._now_s = monotonic_s
        self._tell = tell
        self._zero_s = marks.at_s["speech_end"]
        self._time = None if budget is None else TurnTime(budget, self._zero_s)

    @property
    def budget(self) -> LatencyBudget | None:
        """What bounds the turn, if anything does."""
        return None if self._time is None else self._time.budget

    def mark(self, name: Mark) -> None:
        """A moment of the turn; the first of each counts."""
        self._marks.mark(name, self._now_s())

    def does(self, stage: Stage, action: Action) -> bool:
        """Whether the budget has this done where ``stage`` is late."""
        return self.budget is not None and self.budget.does(stage, action)

    def limit_s(self, stage: Stage) -> float | None:
        """How long ``stage``, which begins now, may take; ``None`` where no budget says so."""
        return None if self._time is None else self._time.limit_s(stage, self._now_s())

    def hard_limit_s(self, stage: Stage) -> float | None:
        """How long the last who can do a stage's work is waited for: until there is no time left for anybody, and
        twice the stage's own limit at least."""
        if self._time is None:
            return None
        now_s = self._now_s()
        return max(2 * self._time.limit_s(stage, now_s), self._time.left_s(now_s))

    @property
    def left_out(self) -> bool:
        """Whether late phrases were left out: not all that was made was heard."""
        return "egress" in self.breaches and self.breaches["egress"].action == "shorten"

    @property
    def actions(self) -> dict[str, str]:
        """What was done about each stage that was late, as far as was told."""
        return {stage: breach.action for stage, breach in self.breaches.items()}

    def patience_s(self, stage: Stage) -> float | None:
        """When ``stage`` is given up for good, which is told or apologised for; ``None`` where nobody says.

        Where the wait is bridged by a filler it may be longer.
        """
        if self.budget is None or not (self.does(stage, "apologize") or self.does(stage, "fail")):
            return None
        if not (self.does(stage, "filler") or self.does("total", "filler")):
            return self.hard_limit_s(stage)
        return BRIDGED * self.budget.stages[stage].deadline_ms / 1_000

    def gap_s(self, stage: Stage) -> float | None:
        """How long ``stage`` may pause once it has begun."""
        return None if self.budget is None else max(LEAST_GAP_S, GAP * self.budget.stages[stage].deadline_ms / 1_000)

    def conclude(self) -> None:
        """The turn is over. What never reached the user, and took too long, is late as well."""
        budget, at_s = self.budget, self._marks.at_s
        if budget is None or "sent" in at_s or "committed" not in at_s:
            return
        stages: list[Stage] = ["total"] if "phrase" in at_s else ["agent", "total"]
        for stage in stages:
            elapsed_ms = self._elapsed_ms(stage)
            if elapsed_ms > budget.stages[stage].deadline_ms:
                failed: BreachAction = "fail" if self.does(stage, "fail") else UNDONE
                self._breach(stage, self._remedies.get(stage, failed), elapsed_ms)

    def answered(self) -> None:
        """The user has got something."""
        if self._time is not None:
            self._time.answered()

    def egress(self) -> tuple[int | None, Callable[[int], None]]:
        """How many ms audio may wait for the client before phrases are left out, and who is told."""
        skips = self.budget is not None and self.budget.does("egress", "shorten")
        late_ms = self.budget.stages["egress"].deadline_ms if self.budget is not None and skips else None
        return late_ms, lambda waited_ms: self._breach("egress", "shorten", waited_ms)

    def words(self, *, late: bool, interim: bool) -> None:
        """What is answered: partial words, because the final ones were ``late``, or ``interim`` ones that recognition
        itself did not want to wait any longer with."""
        if late:
            self.late("stt", "use_partial")
        elif interim:
            self.remedied("stt", "use_partial")

    def late(self, stage: Stage, action: Action) -> None:
        """``stage`` took too long, or failed, and this is done about it."""
        self._breach(stage, action, self._elapsed_ms(stage))

    def remedied(self, stage: Stage, action: Action) -> None:
        """An engine of ``stage`` was slow or failed, and this was done. It is a breach only if that came too late."""
        self._remedies[stage] = action

    def report(self, workers: Workers, preferred: Workers) -> TurnLatency | None:
        """Where the milliseconds went up to now, with what was late; ``None`` where nothing can be told.

        ``workers`` did most of each stage; where another was ``preferred``, it stood in.
        """
        stages = self._marks.stages(workers)
        if not stages:
            return None
        for stage in stages:
            if self.budget is not None and stage.duration_ms > self.budget.stages[stage.stage].deadline_ms:
                stood_in = stage.stage in workers and workers[stage.stage] != preferred.get(stage.stage)
                remedy: BreachAction = "fallback" if stood_in else UNDONE
                self._breach(stage.stage, self._remedies.get(stage.stage, remedy), stage.duration_ms)
        limited, breaches = tuple(map(self._with_limits, stages)), tuple(self.breaches.values())
        return TurnLatency(self._turn_id, limited, self._zero_s, breaches)

    def stages(self) -> tuple[StageLatency, ...]:
        """The stages as they are known now."""
        return self._marks.stages({})

    def _with_limits(self, stage: StageLatency) -> StageLatency:
        if self.budget is None:
            return stage
        own = self.budget.stages[stage.stage]
        return replace(stage, target_ms=own.target_ms, deadline_ms=own.deadline_ms)

    def _breach(self, stage: Stage, action: BreachAction, after_ms: float) -> None:
        budget = self.budget
        if budget is None or stage in self.breaches:
            return
        limit_ms = budget.stages[stage].deadline_ms
        breach = BudgetBreached(self._turn_id, stage, action, limit_ms, round(after_ms))
        self.breaches[stage] = breach
        self._tell(breach)

    def _elapsed_ms(self, stage: Stage) -> float:
        """Since the stage began, as far as its beginning is known."""
        began_s = self._marks.began_s(stage)
        return (self._now_s() - (self._zero_s if began_s is None else began_s)) * 1_000
