"""A language model that says what it was told to: deterministic, without delay, for tests and benchmarks.

Ships with the product so that its own overhead can be measured without a model's. Strict: a script that has run out
is an error, unless it may repeat. Records every request. Knows no clock; delays and faults come in as hooks.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import anyio.lowlevel

from agents.errors import ModelUnavailable
from agents.models.port import (
    ContentFilter,
    Finished,
    Message,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    TextDelta,
    TokenUsage,
    ToolRequest,
)
from agents.models.tokens import estimate_message_tokens

_WORDS = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One completion: text, streamed word by word, then tool requests, then the end (or the failure).

    With a ``verdict`` a content filter ends it.
    """

    text: str = ""
    tools: tuple[ToolRequest, ...] = ()
    failure: Exception | None = None
    verdict: ContentFilter | None = None


class ScriptedModel:
    """``LanguageModel`` with a script. ``requests`` and ``warmed`` hold what it was asked, oldest first."""

    def __init__(
        self,
        *replies: str | ScriptedReply,
        repeat: bool = False,
        profile: ModelProfile | None = None,
        before_event: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        """``repeat`` starts the script over when it ends. ``before_event(n)`` is awaited before each completion's nth
        event and may wait, or raise."""
        self._replies = tuple(ScriptedReply(reply) if isinstance(reply, str) else reply for reply in replies)
        self._repeat = repeat
        self._profile = profile or ModelProfile(provider="scripted", model="scripted")
        self._before_event = before_event
        self.requests: list[ModelRequest] = []
        self.warmed: list[tuple[Message, ...]] = []
        self.open_streams = 0
        self.closed = False

    @property
    def profile(self) -> ModelProfile:
        return self._profile

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        self.warmed.append(messages)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        reply = self._take()
        self.requests.append(request)
        self.open_streams += 1
        try:
            for number, event in enumerate(self._events(request, reply)):
                # A real stream always lets others run between events.
                await anyio.lowlevel.checkpoint()
                if self._before_event is not None:
                    await self._before_event(number)
                if isinstance(event, Finished) and reply.failure is not None:
                    raise reply.failure
                yield event
        finally:
            self.open_streams -= 1

    async def aclose(self) -> None:
        self.closed = True

    def _take(self) -> ScriptedReply:
        number = len(self.requests)
        if self._repeat and self._replies:
            number %= len(self._replies)
        if number >= len(self._replies):
            raise ModelUnavailable("The script has run out.", provider=self._profile.provider)
        return self._replies[number]

    def _events(self, request: ModelRequest, reply: ScriptedReply) -> list[ModelEvent]:
        words = _WORDS.findall(reply.text)
        prompt = sum(estimate_message_tokens(message) for message in request.messages)
        usage = TokenUsage(input_tokens=prompt, output_tokens=len(words) + len(reply.tools))
        end = Finished("tools" if reply.tools else "stop", usage)
        if reply.verdict is not None:
            end = Finished("filtered", usage, reply.verdict)
        return [*(TextDelta(word) for word in words), *reply.tools, end]
