"""What a turn asked of engines and tools, and when: gathered while it runs, told when it is over.

Owns the open and the closed calls of one turn; their times are the event loop's. Knows nothing of who reads them (the
edge makes spans of them). Filled by the agent loop and the turn, which never wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from agents.events import CallEnd, CallOperation, ProviderCall
from agents.models.port import Finished, TokenUsage

MOST_CALLS: Final = 64
"""Of one turn: a reply in very many phrases is told by its first ones."""


@dataclass(slots=True)
class OpenCall:
    """A call under way. As a context manager it ends with its body: failed where that raised an error."""

    log: CallLog
    operation: CallOperation
    provider: str
    model: str
    started_at_s: float
    characters: int = 0
    first_at_s: float | None = None
    finished: Finished | None = None
    ended_at_s: float | None = None
    """When it ended, where that was before it is told."""
    began_at_s: float | None = None
    """Of a tool: when it really began to run."""

    def answered_by(self, provider: str, model: str) -> None:
        """Of several that stand in for each other this one answers."""
        self.provider, self.model = provider, model

    def first(self) -> None:
        """The first of the answer has come; later calls change nothing."""
        if self.first_at_s is None:
            self.first_at_s = self.log.now_s()

    def began(self) -> None:
        """The tool runs from now on: it has waited for what it had to wait for."""
        self.began_at_s = self.log.now_s()

    def close(self, end: CallEnd = "finished", error_code: str | None = None) -> None:
        """It is over."""
        usage = TokenUsage() if self.finished is None else self.finished.usage
        call = ProviderCall(
            operation=self.operation,
            provider=self.provider,
            model=self.model,
            started_at_s=self.started_at_s,
            ended_at_s=self.log.now_s() if self.ended_at_s is None else self.ended_at_s,
            first_at_s=self.first_at_s,
            end=end,
            error_code=error_code,
            finish_reason=None if self.finished is None else self.finished.reason,
            input_tokens=usage.input_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            output_tokens=usage.output_tokens,
            characters=self.characters,
        )
        self.log.closed(self, call)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, Exception):
            self.close("failed", str(getattr(error, "code", "") or "internal"))
        else:  # cancelled, or its generator was closed: somebody had heard enough
            self.close("stopped")


class CallLog:
    """The calls of one turn, in the order they ended. Beyond ``MOST_CALLS`` nothing is kept."""

    def __init__(self) -> None:
        self._open: list[OpenCall] = []
        self._closed: list[ProviderCall] = []
        self.tool_ms = 0
        """How long tools ran, those included that were stopped."""
        self.tools_stopped = 0
        """Tools that ran and were stopped before they answered."""

    @property
    def calls(self) -> tuple[ProviderCall, ...]:
        """Those that are over."""
        return tuple(self._closed)

    def now_s(self) -> float:
        """The event loop's clock."""
        return asyncio.get_running_loop().time()

    def open(self, operation: CallOperation, provider: str, model: str, characters: int = 0) -> OpenCall:
        """A call begins now."""
        call = OpenCall(self, operation, provider, model, self.now_s(), characters)
        self._open.append(call)
        return call

    @contextmanager
    def ending(self, operation: CallOperation) -> Generator[None]:
        """What is opened of this kind inside the body ends with it."""
        try:
            yield
        except BaseException as error:
            for call in self._under_way(operation):
                call.__exit__(type(error), error, None)
            raise
        for call in self._under_way(operation):
            call.close()

    def closed(self, call: OpenCall, fact: ProviderCall) -> None:
        """Called by a call that is over."""
        if call in self._open:
            self._open.remove(call)
            if call.began_at_s is not None:
                self.tool_ms += max(0, round((fact.ended_at_s - call.began_at_s) * 1_000))
                self.tools_stopped += fact.end == "stopped"
            if len(self._closed) < MOST_CALLS:
                self._closed.append(fact)

    def _under_way(self, operation: CallOperation) -> list[OpenCall]:
        return [call for call in self._open if call.operation == operation]
