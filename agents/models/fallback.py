"""A language model that has stand-ins: each is asked where the one before does not answer in time, or at all.

Owns the models in their order and what is told of who answers; who is asked when is ``agents.models.contest``'s.
Another takes over only while nothing has been said: words are never said twice, and an answer that breaks off later
ends as its own failure. What a content filter refuses is an answer: nobody else is asked for it. Breakers, paces and
the allowance for hedges belong to the models, not to sessions. Driven like any other ``LanguageModel``; knows no
provider.

A model that has said when it may be asked again is not asked before, not even as the last one; one that merely failed
is, where nobody else is left.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import anyio

from agents.errors import ModelError
from agents.models.contest import Contest, ContestRules
from agents.models.fitting import fitted
from agents.models.guarded import GuardedModel
from agents.models.hedging import HedgeAllowance
from agents.models.port import AnsweredBy, Message, ModelEvent, ModelProfile, ModelRequest
from agents.models.race import Contender
from audio.fallback import DegradationTeller, OnDegraded, nobody_told

TAKEOVER_S: Final = 1.5
"""How long a caller waits before somebody else is asked: with the answer's own time about what a turn may take."""


class FallbackModel:
    """Models in order of preference, see the module."""

    def __init__(
        self,
        models: Sequence[GuardedModel],
        *,
        on_degraded: OnDegraded = nobody_told,
        takeover_s: float = TAKEOVER_S,
        allowance: HedgeAllowance | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``allowance`` bounds how many requests may be asked of two models at once; by default a tenth."""
        if not models:
            raise ValueError("a fallback needs at least one model")
        self._models = tuple(models)
        self._rules = ContestRules(takeover_s, allowance or HedgeAllowance(), now_s)
        self._teller = DegradationTeller("llm", self._models[0].name, on_degraded)

    @property
    def models(self) -> tuple[GuardedModel, ...]:
        """All of them, the preferred one first."""
        return self._models

    @property
    def profile(self) -> ModelProfile:
        """Of the model that would be asked now. The context is the preferred one's: the rest is made to fit."""
        now_s = self._rules.now_s()
        asked = next((guarded for guarded in self._models if guarded.breaker.would_admit(now_s)), self._models[-1])
        return replace(asked.model.profile, context_tokens=self._models[0].model.profile.context_tokens)

    @property
    def takeover_s(self) -> float:
        """How long one may be silent before the next is asked."""
        return self._rules.takeover_s

    def for_session(self, on_degraded: OnDegraded) -> FallbackModel:
        """The same models with all that is known of them, telling this session when another has to step in."""
        rules = self._rules
        return FallbackModel(
            self._models,
            on_degraded=on_degraded,
            takeover_s=rules.takeover_s,
            allowance=rules.allowance,
            now_s=rules.now_s,
        )

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        """Warm all of them at once; raises the preferred one's ModelError if none can be had."""
        failures: dict[int, ModelError] = {}

        async def warm(number: int, guarded: GuardedModel) -> None:
            try:
                await guarded.model.warm_up(fitted(ModelRequest(messages), guarded.model.profile).messages)
            except ModelError as error:
                failures[number] = error
                guarded.failed(error, self._rules.now_s())

        async with anyio.create_task_group() as tasks:
            for number, guarded in enumerate(self._models):
                tasks.start_soon(warm, number, guarded)
        if len(failures) == len(self._models):
            raise failures[0]

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """See the port. Raises the error of the last model asked, or of the one that broke off after its first word."""
        reason = self._models[0].breaker.reason(self._rules.now_s())
        async with aclosing(Contest(self._models, request, self._rules)) as contest:
            async with aclosing(contest.decide()) as events:
                async for event in events:
                    yield event
            winner = contest.winner
            why = contest.failure or (None if contest.has_asked_preferred else reason)
            # Where the preferred model is merely slower this once, nothing is degraded.
            if winner.number == 0 or why is not None:
                self._teller.uses(winner.number, winner.guarded.name, why)
            async with aclosing(self._answer(winner)) as events:
                async for event in events:
                    yield event

    async def aclose(self) -> None:
        """Release the models."""
        for guarded in self._models:
            await guarded.model.aclose()

    async def _answer(self, winner: Contender) -> AsyncGenerator[ModelEvent]:
        breaker = winner.guarded.breaker
        has_failed = False
        try:
            yield AnsweredBy(winner.guarded.profile)
            async with aclosing(winner.rest()) as events:
                async for event in events:
                    yield event
        except ModelError as error:
            has_failed = True
            winner.guarded.failed(error, self._rules.now_s())
            raise
        finally:
            if not has_failed:  # even where whoever listened has left: what began to answer works
                breaker.succeeded()
