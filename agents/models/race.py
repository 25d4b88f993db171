"""Models at work on one request at the same time, each until it has something to say.

Owns their requests and the tasks that wait for the first of each answer: a request that is ended is really cancelled,
and no task is left once the race is closed. Knows no order, limits or breakers; driven by ``agents.models.contest``.

The tasks are no task group's, because a group cannot span the ``yield`` of the generator that tells of the race.
Instead ``aclose``, which that generator calls whatever happens, cancels all of them and waits until they are gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Final

import anyio

from agents.errors import ModelError, ModelUnavailable
from agents.models.guarded import GuardedModel
from agents.models.port import (
    Finished,
    ModelEvent,
    ModelRequest,
    Preparing,
    QuotaSpent,
    TextDelta,
    TokenUsage,
    ToolRequest,
)
from agents.models.tokens import estimate_usage

log = logging.getLogger(__name__)

CLOSE_LIMIT_S: Final = 5.0
"""How long requests may take to end; models bound it themselves, with less."""


class Contender:
    """A model that was asked. ``first`` is what it has to say first, ``error`` why it says nothing."""

    def __init__(
        self, number: int, guarded: GuardedModel, request: ModelRequest, on_spent: Callable[[QuotaSpent], None]
    ) -> None:
        """``number`` is its place among the models, 0 the preferred one's."""
        self.number = number
        self.guarded = guarded
        self.request = request
        self.asked_s = anyio.current_time()
        self.events: AsyncGenerator[ModelEvent] = guarded.model.stream(request)
        self.first: ModelEvent | None = None
        self.error: ModelError | None = None
        self.is_at_work = False
        """It prepares something that comes whole: silent, but not late."""
        self._on_spent = on_spent

    @property
    def prompt(self) -> TokenUsage:
        """What reading the request costs, estimated."""
        return estimate_usage(self.request.messages, "")

    @property
    def cost(self) -> TokenUsage:
        """What it cost, where its answer is not used."""
        if self.error is not None and not self.error.has_cost:
            return TokenUsage()
        match self.first:
            case Finished(usage=usage):
                return usage
            case TextDelta(text):
                return estimate_usage(self.request.messages, text)
            case ToolRequest(name=name, arguments=arguments):
                return estimate_usage(self.request.messages, name + arguments)
            case _:
                return self.prompt

    async def begin(self) -> None:
        """Wait until ``first`` or ``error`` is there."""
        try:
            while self.first is None:
                event = await anext(self.events, None)
                match event:
                    case None:
                        message = "The language model ended without an answer."
                        self.error = ModelUnavailable(message, provider=self.guarded.profile.provider, has_cost=True)
                        return
                    case QuotaSpent():
                        self._on_spent(event)
                    case Preparing():
                        self.is_at_work = True
                    case _:
                        self.first = event
        except ModelError as error:
            self.error = error
        else:
            if not isinstance(self.first, Finished):
                self.guarded.pace.note(anyio.current_time() - self.asked_s)

    async def rest(self) -> AsyncGenerator[ModelEvent]:
        """``first``, and everything after it. Raises ModelError."""
        assert self.first is not None
        yield self.first
        async for event in self.events:
            if isinstance(event, QuotaSpent):
                self._on_spent(event)
            else:
                yield event

    async def close(self) -> None:
        """Close its request, where its task does not do so by being cancelled."""
        await self.events.aclose()


class Race:
    """See the module. ``running`` are those that have neither won, nor failed, nor been ended, oldest first."""

    def __init__(self) -> None:
        self.running: list[Contender] = []
        self._tasks: dict[Contender, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def enter(self, contender: Contender) -> None:
        """Ask it."""
        self.running.append(contender)
        self._tasks[contender] = asyncio.create_task(contender.begin())  # noqa: TID251 - see the module

    async def news(self, until_s: float | None) -> None:
        """Wait until one of those running has something to say or fails, at the longest until ``until_s`` (of the event
        loop's clock)."""
        waiting = [self._tasks[contender] for contender in self.running]
        timeout_s = None if until_s is None else max(0.0, until_s - anyio.current_time())
        done, _ = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # what is no ModelError is nobody's answer

    def end(self, contender: Contender) -> None:
        """Cancel its request; nobody waits for that here, the winner's words least of all."""
        self.running.remove(contender)
        task = self._tasks[contender]
        if task.done():  # it has just begun to speak
            task = self._tasks[contender] = asyncio.create_task(contender.close())  # noqa: TID251 - see the module
        else:
            task.cancel()
        self._ending.add(task)

    def remove(self, contender: Contender) -> None:
        """It has won, or failed."""
        self.running.remove(contender)

    async def aclose(self) -> None:
        """End every request and wait until they are gone."""
        for task in self._tasks.values():
            if task not in self._ending:  # to be cancelled again would break off the closing of its connection
                task.cancel()
        with anyio.move_on_after(CLOSE_LIMIT_S, shield=True) as scope:
            pending = [task for task in self._tasks.values() if not task.done()]
            if pending:
                await asyncio.wait(pending)
            for contender, task in self._tasks.items():
                if not task.cancelled() and task.exception() is not None:
                    log.error("a language model broke its port", exc_info=task.exception())
                await contender.close()
        if scope.cancelled_caught:
            log.error("a language model's request did not end in time")
            for task in self._tasks.values():
                task.cancel()
        self.running.clear()
