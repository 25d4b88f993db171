"""A language model that has stand-ins: each is asked where the one before does not answer in time, or at all.

Owns the order, the time until another takes over, and what is told of it. Another takes over only while nothing has
been said: words are never said twice, and an answer that breaks off later ends as its own failure. What a content
filter refuses is an answer: nobody else is asked for it. Breakers belong to the models, not to sessions. Driven like
any other ``LanguageModel``; knows no provider.

A model that has said when it may be asked again is not asked before, not even as the last one; one that merely failed
is, where nobody else is left.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from agents.errors import ModelError, ModelRateLimited, ModelTimeout, RequestRejected
from agents.models.fitting import fitted
from agents.models.port import (
    AnsweredBy,
    AskedInstead,
    LanguageModel,
    Message,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    Preparing,
    QuotaSpent,
)
from audio.breaker import Breaker, BreakerOptions
from audio.fallback import DegradationTeller, OnDegraded, nobody_told

TAKEOVER_S: Final = 1.5
"""How long a caller waits before somebody else is asked: with the answer's own time about what a turn may take."""
BREAKER: Final = BreakerOptions(pause_s=2.0)
"""Pauses begin shorter than for speech engines: services that refuse by the minute say so themselves."""


def _breaker() -> Breaker[ModelError]:
    return Breaker(BREAKER)


@dataclass(frozen=True, slots=True)
class GuardedModel:
    """A model, and whether it is worth asking. One per process and deployment."""

    model: LanguageModel
    breaker: Breaker[ModelError] = field(default_factory=_breaker)

    @property
    def name(self) -> str:
        """The model in words; deployments of one provider are told apart."""
        profile = self.model.profile
        return f"{profile.provider} {profile.model}"


class FallbackModel:
    """Models in order of preference, see the module."""

    def __init__(
        self,
        models: Sequence[GuardedModel],
        *,
        on_degraded: OnDegraded = nobody_told,
        takeover_s: float = TAKEOVER_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not models:
            raise ValueError("a fallback needs at least one model")
        self._models = tuple(models)
        self._takeover_s = takeover_s
        self._now_s = now_s
        self._teller = DegradationTeller("llm", self._models[0].name, on_degraded)

    @property
    def models(self) -> tuple[GuardedModel, ...]:
        """All of them, the preferred one first."""
        return self._models

    @property
    def profile(self) -> ModelProfile:
        """Of the model that would be asked now. The context is the preferred one's: the rest is made to fit."""
        return replace(self._asked_from(0).model.profile, context_tokens=self._models[0].model.profile.context_tokens)

    def for_session(self, on_degraded: OnDegraded) -> FallbackModel:
        """The same models and breakers, telling this session when another has to step in."""
        return FallbackModel(self._models, on_degraded=on_degraded, takeover_s=self._takeover_s, now_s=self._now_s)

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        """Warm all of them at once; raises the preferred one's ModelError if none can be had."""
        failures: dict[int, ModelError] = {}

        async def warm(number: int, guarded: GuardedModel) -> None:
            try:
                await guarded.model.warm_up(fitted(ModelRequest(messages), guarded.model.profile).messages)
            except ModelError as error:
                failures[number] = error
                self._failed(guarded, error)

        async with anyio.create_task_group() as tasks:
            for number, guarded in enumerate(self._models):
                tasks.start_soon(warm, number, guarded)
        if len(failures) == len(self._models):
            raise failures[0]

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """See the port. Raises the error of the last model asked, or of the one that broke off after its first word."""
        failure: ModelError | None = None
        for number, guarded in enumerate(self._models):
            is_last = number == len(self._models) - 1
            if not self._may_ask(guarded, is_last=is_last):
                continue
            why = failure or self._models[0].breaker.reason(self._now_s())
            heard = _Heard()
            try:
                limit_s = None if is_last else self._takeover_s
                async with aclosing(self._answer(guarded, request, heard, limit_s)) as events:
                    async for event in events:
                        if isinstance(event, AnsweredBy):
                            self._teller.uses(number, guarded.name, why)
                        yield event
            except ModelError as error:
                heard.settled = True
                self._failed(guarded, error)
                failure = error
            else:
                heard.settled = True
                guarded.breaker.succeeded()
                return
            finally:
                if not heard.settled:  # whoever listened has left: what began to answer works
                    (guarded.breaker.succeeded if heard.anything else guarded.breaker.withdrawn)()
            if heard.anything or is_last:
                raise failure
            yield AskedInstead(self._asked_from(number + 1).model.profile, failure.code)

    async def aclose(self) -> None:
        """Release the models."""
        for guarded in self._models:
            await guarded.model.aclose()

    def _asked_from(self, number: int) -> GuardedModel:
        """Who would be asked now, of those from ``number`` on."""
        now_s = self._now_s()
        return next(
            (guarded for guarded in self._models[number:] if guarded.breaker.would_admit(now_s)), self._models[-1]
        )

    def _may_ask(self, guarded: GuardedModel, *, is_last: bool) -> bool:
        """Whether to ask it. Raises ModelRateLimited where nobody else is left and it has said when to come back."""
        now_s = self._now_s()
        if guarded.breaker.admits(now_s):
            return True
        if not is_last:
            return False
        reason = guarded.breaker.reason(now_s)
        if isinstance(reason, ModelRateLimited):
            wait_s = guarded.breaker.opens_in_s(now_s)
            raise ModelRateLimited(str(reason), provider=reason.provider, retry_after_s=wait_s)
        return True

    def _failed(self, guarded: GuardedModel, error: ModelError) -> None:
        if isinstance(error, RequestRejected):  # it answers; only not this
            guarded.breaker.withdrawn()
        else:
            guarded.breaker.failed(error, self._now_s(), at_once=isinstance(error, ModelRateLimited))

    async def _answer(
        self, guarded: GuardedModel, request: ModelRequest, heard: _Heard, limit_s: float | None
    ) -> AsyncGenerator[ModelEvent]:
        profile = guarded.model.profile
        if guarded is not self._models[0]:
            request = fitted(request, profile)
        until_s = None if limit_s is None else anyio.current_time() + limit_s
        async with aclosing(guarded.model.stream(request)) as events:
            while (event := await self._next(profile, events, until_s)) is not None:
                if isinstance(event, QuotaSpent):
                    self._spent(guarded, event)
                    continue
                until_s = None
                if not isinstance(event, Preparing) and not heard.anything:
                    heard.anything = True
                    yield AnsweredBy(profile)
                yield event

    async def _next(
        self, profile: ModelProfile, events: AsyncGenerator[ModelEvent], until_s: float | None
    ) -> ModelEvent | None:
        if until_s is None:
            return await anext(events, None)
        try:
            with anyio.fail_after(max(0.0, until_s - anyio.current_time())):
                return await anext(events, None)
        except TimeoutError as error:
            message = f"No answer within {self._takeover_s:g} s."
            raise ModelTimeout(message, provider=profile.provider) from error

    def _spent(self, guarded: GuardedModel, event: QuotaSpent) -> None:
        message = "The language model's provider has nothing left for now."
        provider = guarded.model.profile.provider
        error = ModelRateLimited(message, provider=provider, retry_after_s=event.rest_s)
        guarded.breaker.spent(error, self._now_s())


@dataclass(slots=True)
class _Heard:
    """How far one model came: whether it said anything, and whether its breaker knows how it ended."""

    anything: bool = False
    settled: bool = False
