"""One request to models that stand in for each other: who is asked when, and who has the first word.

Owns the order within one request, the limits, the hedge, and what breakers and paces learn of those who do not win.
Knows no events after the winner's first; tells nobody of degradations. Driven by ``agents.models.fallback``, one
contest per request. At most two models are at work at once:

======================  =============================================================================================
a model                 what is done
======================  =============================================================================================
is silent for its p95   the next one that is trusted is asked beside it, if the request may be hedged, the allowance
                        lasts, and it is alone
is silent at its limit  it is overtaken and the next one asked; with nobody to ask it goes on
prepares what it says   it is not late, and neither is anybody beside it
fails                   another that is at work goes on; else the next one is asked at once
speaks                  it has won; another that is at work is overtaken
======================  =============================================================================================

Losing is no failure, unless the loser had both its limit and the time it usually takes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio

from agents.errors import ModelError, ModelRateLimited, ModelTimeout
from agents.models.fitting import fitted
from agents.models.guarded import GuardedModel
from agents.models.hedging import FLOOR_S, HedgeAllowance
from agents.models.port import Asked, ModelRequest, Overtaken, QuotaSpent
from agents.models.race import Contender, Race

_TIMER_S: Final = 0.001
"""Timers may go off early by as much as a clock's resolution."""


@dataclass(frozen=True, slots=True)
class ContestRules:
    """How long a model may be silent before the next one is asked, how often two may be, and the breakers' clock."""

    takeover_s: float
    allowance: HedgeAllowance
    now_s: Callable[[], float]


class Contest:
    """See the module. Close it, whatever happens: no request outlives that."""

    def __init__(self, models: Sequence[GuardedModel], request: ModelRequest, rules: ContestRules) -> None:
        self.failure: ModelError | None = None
        """Why the last of those who failed, or were overtaken at their limit, did not answer."""
        self.has_asked_preferred = False
        self._models = models
        self._request = request
        self._rules = rules
        self._limit_s = rules.takeover_s
        if request.within_s is not None:
            self._limit_s = min(rules.takeover_s, max(FLOOR_S, request.within_s))
        self._race = Race()
        self._last_asked = -1
        self._may_hedge = request.hedge
        self._may_take_over = True
        self._winner: Contender | None = None
        if request.hedge:
            rules.allowance.requested()

    @property
    def winner(self) -> Contender:
        """Who has the first word, once ``decide`` is over."""
        assert self._winner is not None
        return self._winner

    async def decide(self) -> AsyncGenerator[Asked | Overtaken]:
        """Ask until one has something to say; tell of each that is asked, and of each that is not used.

        Raises:
            ModelRateLimited: nobody is left but one that has said when to come back.
            ModelError: the last one's, where all failed.
        """
        for event in self._ask_another():
            yield event
        while self._winner is None:
            await self._race.news(self._patience_until_s)
            for event in self._step():
                yield event

    async def aclose(self) -> None:
        """End all requests, the winner's among them."""
        for contender in self._race.running:
            contender.guarded.breaker.withdrawn()
        await self._race.aclose()

    def _step(self) -> Generator[Asked | Overtaken]:
        """What follows from how things stand."""
        failed = [contender for contender in self._race.running if contender.error is not None]
        for contender in failed:
            self._fail(contender)
        for contender in failed[: None if self._race.running else -1]:
            yield _gave_way(contender)
        self._winner = next((contender for contender in self._race.running if contender.first is not None), None)
        if self._winner is not None:
            self._race.remove(self._winner)
            for loser in [*self._race.running]:
                yield self._overtake(loser)
        elif not self._race.running:
            yield from self._ask_another(failed[-1])
        else:
            yield from self._lose_patience()

    def _ask_another(self, failed: Contender | None = None) -> Generator[Asked | Overtaken]:
        """Nobody is at work: ask the next, or raise. ``failed`` is whose error is raised if there is no other."""
        number = self._next()
        last = self._models[-1]
        is_over = number is None and self._last_asked == len(self._models) - 1
        asked = None if number is None else self._ask(number)
        if failed is not None and not is_over:
            yield _gave_way(failed)
        if asked is not None:
            yield asked
        elif is_over:
            assert self.failure is not None
            raise self.failure
        else:
            now_s = self._rules.now_s()
            wait_s = last.breaker.opens_in_s(now_s)
            provider = last.profile.provider
            raise ModelRateLimited(str(last.breaker.reason(now_s)), provider=provider, retry_after_s=wait_s)

    # --- who is late ---

    @property
    def _patience_until_s(self) -> float | None:
        return min((at for at in (self._hedge_at_s, self._takeover_at_s) if at is not None), default=None)

    @property
    def _hedge_at_s(self) -> float | None:
        if not self._may_hedge or len(self._race.running) != 1 or self._is_at_work:
            return None
        alone = self._race.running[0]
        return alone.asked_s + max(FLOOR_S, min(alone.guarded.pace.p95_s(self._limit_s), self._limit_s))

    @property
    def _takeover_at_s(self) -> float | None:
        if not self._may_take_over or self._is_at_work:
            return None
        return self._race.running[-1].asked_s + self._limit_s

    @property
    def _is_at_work(self) -> bool:
        return any(contender.is_at_work for contender in self._race.running)

    def _lose_patience(self) -> Generator[Asked | Overtaken]:
        if _is_due(self._hedge_at_s):
            number = self._next(trusted=True) if self._rules.allowance.has_one else None
            if number is not None:
                self._rules.allowance.spend()
                yield self._ask(number)
                return
            self._may_hedge = False
        if _is_due(self._takeover_at_s):
            number = self._next()
            if number is None:
                self._may_take_over = False
                return
            late = [*self._race.running]
            asked = self._ask(number)
            for contender in late:
                yield self._overtake(contender, is_late=True)
            yield asked

    # --- whom to ask ---

    def _next(self, *, trusted: bool = False) -> int | None:
        """Whom to ask now: the next one whose breaker admits it.

        The last one is asked whatever its breaker says, unless it has said when to come back, or only a ``trusted`` one
        will do.
        """
        now_s = self._rules.now_s()
        for number in range(self._last_asked + 1, len(self._models)):
            breaker = self._models[number].breaker
            if breaker.admits(now_s):
                return number
            rests = isinstance(breaker.reason(now_s), ModelRateLimited)
            if number == len(self._models) - 1 and not trusted and not rests:
                return number
        return None

    def _ask(self, number: int) -> Asked:
        guarded = self._models[number]
        request = self._request if number == 0 else fitted(self._request, guarded.profile)
        contender = Contender(number, guarded, request, partial(self._spent, guarded))
        self._last_asked = number
        self.has_asked_preferred |= number == 0
        self._race.enter(contender)
        return Asked(guarded.profile, contender.prompt)

    # --- what is learned ---

    def _spent(self, guarded: GuardedModel, event: QuotaSpent) -> None:
        guarded.spent(event, self._rules.now_s())

    def _fail(self, contender: Contender) -> None:
        assert contender.error is not None
        self._race.remove(contender)
        self.failure = contender.error
        if isinstance(contender.error, ModelTimeout):
            self._learn_silence(contender)
        contender.guarded.failed(contender.error, self._rules.now_s())

    def _overtake(self, contender: Contender, *, is_late: bool = False) -> Overtaken:
        """End its request: another was quicker, or it ``is_late``."""
        guarded, cost = contender.guarded, contender.cost
        is_at_fault = contender.first is None and self._learn_silence(contender)
        self._race.end(contender)
        error_code = None
        if is_late or is_at_fault:
            error_code = ModelTimeout.code
            self.failure = ModelTimeout(f"No answer within {self._limit_s:g} s.", provider=guarded.profile.provider)
        if is_at_fault and self.failure is not None:
            guarded.breaker.failed(self.failure, self._rules.now_s())
        elif contender.first is not None:
            guarded.breaker.succeeded()
        else:
            guarded.breaker.withdrawn()
        return Overtaken(guarded.profile, cost, error_code)

    def _learn_silence(self, contender: Contender) -> bool:
        """It has said nothing so far, which tells of its pace where that is longer than usual. Whether it had all the
        time that it may take, and that it usually takes."""
        pace, silent_s = contender.guarded.pace, anyio.current_time() - contender.asked_s + _TIMER_S
        usual_s = pace.p95_s(self._limit_s)
        if silent_s >= usual_s and not contender.is_at_work:
            pace.note(silent_s)
        return silent_s >= max(self._limit_s, min(self._rules.takeover_s, usual_s)) and not contender.is_at_work


def _gave_way(failed: Contender) -> Overtaken:
    assert failed.error is not None
    return Overtaken(failed.guarded.profile, failed.cost, failed.error.code)


def _is_due(at_s: float | None) -> bool:
    return at_s is not None and anyio.current_time() >= at_s - _TIMER_S
