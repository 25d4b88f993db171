"""Runs tools inside a turn: checked, limited, off the event loop where they block, and never raising.

Owns which tools there are and how many blocking calls may be stuck at once. What goes wrong goes back to the model as
an answer it can read. Knows nothing of models or turns but the event that says a turn is certain. Driven by
``agents.loop.agent``.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread
from pydantic_core import PydanticSerializationError, to_json

from agents.errors import ToolError
from agents.models.port import ToolRequest, ToolSpec
from agents.tools.tool import Tool

log = logging.getLogger(__name__)

MAX_OUTPUT_BYTES: Final = 16 * 1024
MAX_THREADS: Final = 8
"""Blocking calls at once, those given up but still running included."""
COMMIT_LIMIT_S: Final = 60.0


class Certainty(Protocol):
    """That a turn is certain."""

    def is_set(self) -> bool:
        """Whether it is."""
        ...

    async def wait(self) -> None:
        """Return once it is."""
        ...


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a tool answered: JSON text of at most ``MAX_OUTPUT_BYTES``; ``{"error": …}`` where ``error`` is set."""

    output: str
    error: bool
    duration_ms: int


class ToolRunner:
    """The tools of one agent, for all its conversations."""

    def __init__(self, tools: tuple[Tool, ...] = ()) -> None:
        self._tools: Mapping[str, Tool] = {tool.name: tool for tool in tools}
        if len(self._tools) != len(tools):
            raise ValueError("two tools have the same name")
        self._threads = _Threads(MAX_THREADS)

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as a model sees them."""
        return tuple(tool.spec for tool in self._tools.values())

    def knows(self, name: str) -> bool:
        """Whether there is such a tool."""
        return name in self._tools

    def has_effects(self, name: str) -> bool:
        """Whether calling it changes anything anywhere; not where there is no such tool."""
        tool = self._tools.get(name)
        return tool is not None and tool.effects

    async def run(
        self, request: ToolRequest, committed: Certainty, on_begin: Callable[[], None] = lambda: None
    ) -> ToolOutcome:
        """Run one tool. Never raises, except when cancelled. ``on_begin`` is told when it really begins.

        A tool with effects waits until ``committed`` is set: a draft that is thrown away leaves no trace. Its limit
        counts from then.
        """
        started = anyio.current_time()
        try:
            output, error = await self._answer(request, committed, on_begin), False
        except ToolError as failure:
            output, error = _error(str(failure)), True
        except Exception:
            # A tool is somebody else's code; its reasons stay in the log.
            log.exception("tool failed", extra={"tool": request.name})
            output, error = _error(f"The tool {request.name} failed."), True
        return ToolOutcome(output, error, round((anyio.current_time() - started) * 1_000))

    async def _answer(self, request: ToolRequest, committed: Certainty, on_begin: Callable[[], None]) -> str:
        tool = self._tools.get(request.name)
        if tool is None:
            raise ToolError(f"There is no tool called {request.name[:64]}.")
        arguments = tool.checked(request.arguments)
        if tool.effects:
            await _certain(committed)
        on_begin()
        value: Any = None
        # An outer scope's own time-out must not be taken for the tool's.
        with anyio.move_on_after(tool.limit_s) as scope:
            value = await tool.call(arguments) if tool.is_async else await self._threads.run(tool, arguments)
        if scope.cancelled_caught:
            raise ToolError(f"The tool {tool.name} did not answer within {tool.limit_s:g} seconds.")
        return _bounded(value)


async def _certain(committed: Certainty) -> None:
    with anyio.move_on_after(COMMIT_LIMIT_S):
        await committed.wait()
    if not committed.is_set():
        raise ToolError("The user's turn never became certain, so nothing was done.")


class _Threads:
    """Worker threads for blocking tools. A call that is given up keeps its place until it really ends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._busy = 0
        self._lock = threading.Lock()

    async def run(self, tool: Tool, arguments: Mapping[str, Any]) -> Any:
        # A limiter of its own: tools never wait for the threads of others, and the bound is the count below.
        limiter = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(self._call, tool, arguments, abandon_on_cancel=True, limiter=limiter)

    def _call(self, tool: Tool, arguments: Mapping[str, Any]) -> Any:
        with self._lock:
            if self._busy >= self._limit:
                raise ToolError("Too many tools are running; try again later.")
            self._busy += 1
        try:
            return tool.call(arguments)
        finally:
            with self._lock:
                self._busy -= 1


def _error(message: str) -> str:
    return json.dumps({"error": message}, ensure_ascii=False)


def _bounded(value: Any) -> str:
    try:
        output = to_json(value)
    except PydanticSerializationError as error:
        raise ToolError("The tool's answer cannot be written as JSON.") from error
    if len(output) <= MAX_OUTPUT_BYTES:
        return output.decode()
    # Room for the frame and for characters that JSON writes as escapes.
    part = output[: MAX_OUTPUT_BYTES // 2].decode(errors="ignore")
    while len(shortened := json.dumps({"truncated": True, "beginning": part}, ensure_ascii=False).encode()) > (
        MAX_OUTPUT_BYTES
    ):
        part = part[: len(part) * 3 // 4]
    return shortened.decode()
