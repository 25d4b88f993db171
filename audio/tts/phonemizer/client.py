"""The near end of the phonemizer process: starts it, asks it, restarts it, ends it.

Owns one child process and its two pipes. Knows the line protocol of ``worker`` and nothing of phonemes. Every wait has
a limit; a child that dies is replaced and asked once more; one that hangs is killed; one that cannot start is not
tried again before a growing pause. Driven by ``audio.tts.piper``, on the event loop.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from audio.errors import EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable
from audio.tts.phonemizer.port import MAX_CHARACTERS, Clause, sentences

_PROVIDER: Final = "piper"
_WORKER: Final = Path(__file__).with_name("worker.py")
_MAX_REPLY_BYTES: Final = 1 << 20
_BROKEN_PIPE: Final = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.DelimiterNotFound,
    OSError,
)


@dataclass(frozen=True, slots=True)
class PhonemizerLimits:
    """How long the child may take to start, answer and end, how many may wait for it, and the restart pauses."""

    start_s: float = 10.0
    answer_s: float = 2.0
    close_s: float = 1.0
    max_waiting: int = 64
    first_pause_s: float = 0.2
    longest_pause_s: float = 10.0


class PhonemizerProcess:
    """A ``Phonemizer`` in a child process, which starts when first needed.

    ``command`` is the program and arguments that speak the protocol; by default the worker beside this file.
    """

    def __init__(self, command: Sequence[str] | None = None, limits: PhonemizerLimits | None = None) -> None:
        self._command = tuple(command or (sys.executable, "-P", str(_WORKER)))
        self._limits = limits or PhonemizerLimits()
        self._turn = anyio.Lock()
        self._child: _Child | None = None
        self._waiting = 0
        self._failed_starts = 0
        self._not_before_s = 0.0
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.process.pid if self._child else None

    async def phonemes(self, text: str, locale: str) -> list[list[str]]:
        """Sentences of phonemes.

        Raises:
            EngineOverloaded: more than ``max_waiting`` callers wait.
            EngineTimeout: the child did not answer (it is killed).
            EngineUnavailable: it cannot be started.
            EngineError: it refused the text or died of it twice.
        """
        if len(text) > MAX_CHARACTERS:
            raise _error(EngineError, f"a text of {len(text)} characters is over the limit of {MAX_CHARACTERS}")
        if self._waiting >= self._limits.max_waiting:
            raise _error(EngineOverloaded, f"{self._waiting} texts already wait for the phonemizer")
        self._waiting += 1
        try:
            async with self._turn:
                return sentences(await self._ask(text, locale))
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        """End the child: its input is closed, and after ``close_s`` it is killed."""
        self._closed = True
        if self._child is not None:
            await self._drop(self._child, grace_s=self._limits.close_s)

    async def _ask(self, text: str, locale: str) -> list[Clause]:
        for _attempt in range(2):
            child = await self._running()
            try:
                with anyio.fail_after(self._limits.answer_s):
                    return _clauses(await child.ask(text, locale))
            except TimeoutError as error:
                await self._drop(child)
                raise _error(EngineTimeout, f"no phonemes within {self._limits.answer_s} s") from error
            except _BROKEN_PIPE:
                await self._drop(child)
        raise _error(EngineError, "the phonemizer died twice on the same text")

    async def _running(self) -> _Child:
        if self._closed:
            raise _error(EngineUnavailable, "the phonemizer is closed")
        if self._child is not None:
            return self._child
        child = await self._start()
        if self._closed:  # while it started
            await self._drop(child)
            raise _error(EngineUnavailable, "the phonemizer is closed")
        self._child = child
        return child

    async def _start(self) -> _Child:
        pause_s = self._not_before_s - anyio.current_time()
        if pause_s > 0:
            raise _error(EngineUnavailable, f"the phonemizer did not start; next try in {pause_s:.1f} s")
        child: _Child | None = None
        try:
            with anyio.fail_after(self._limits.start_s):
                child = await _Child.spawn(self._command)
                hello = await child.read()
        except TimeoutError as error:
            await self._failed(child, f"it was not ready within {self._limits.start_s} s", error)
        except _BROKEN_PIPE as error:
            await self._failed(child, f"{type(error).__name__}: {error}", error)
        except BaseException:
            if child is not None:
                await self._drop(child)
            raise
        if "ready" not in hello:
            await self._failed(child, str(hello.get("error")), None)
        self._failed_starts = 0
        return child

    async def _failed(self, child: _Child | None, reason: str, cause: BaseException | None) -> NoReturn:
        if child is not None:
            await self._drop(child)
        limits = self._limits
        pause_s = min(limits.first_pause_s * 2**self._failed_starts, limits.longest_pause_s)
        self._failed_starts = min(self._failed_starts + 1, 16)
        self._not_before_s = anyio.current_time() + pause_s
        raise _error(
            EngineUnavailable,
            f"the phonemizer did not start ({reason}). Install it with: pip install 'convergio-voice[piper]'",
        ) from cause

    async def _drop(self, child: _Child, *, grace_s: float = 0.0) -> None:
        if self._child is child:
            self._child = None
        await child.aclose(grace_s)


class _Child:
    """A running worker and the replies read from it so far."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._requests = process.stdin
        self._replies = BufferedByteReceiveStream(process.stdout)
        self._last_id = 0

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> _Child:
        """Start it in a session of its own, so that a terminal's Ctrl-C does not reach it."""
        process = await anyio.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return cls(process)

    async def ask(self, text: str, voice: str) -> dict[str, Any]:
        """The reply to this request. Replies to earlier ones, whose callers went away, are passed over."""
        self._last_id += 1
        request_id = self._last_id
        await self._requests.send(json.dumps({"id": request_id, "text": text, "voice": voice}).encode() + b"\n")
        while (reply := await self.read()).get("id") != request_id:
            pass
        return reply

    async def read(self) -> dict[str, Any]:
        """The next line. Raises one of ``_BROKEN_PIPE``."""
        line = await self._replies.receive_until(b"\n", _MAX_REPLY_BYTES)
        try:
            reply: object = json.loads(line)
        except ValueError as error:
            raise anyio.BrokenResourceError from error
        if not isinstance(reply, dict):
            raise anyio.BrokenResourceError
        return reply  # pyright: ignore[reportUnknownVariableType]

    async def aclose(self, grace_s: float) -> None:
        """Let it end by itself for ``grace_s`` after its input closed, then kill it; reap it either way."""
        with anyio.CancelScope(shield=True):
            if grace_s:
                with anyio.move_on_after(grace_s):
                    await self._requests.aclose()
                    await self.process.wait()
            if self.process.returncode is None:
                self.process.kill()
            await self.process.aclose()


def _clauses(reply: dict[str, Any]) -> list[Clause]:
    if "error" in reply:
        raise _error(EngineError, f"the phonemizer refused the text ({reply['error']})")
    try:
        return [Clause(str(text), str(end), bool(last)) for text, end, last in reply["clauses"]]
    except (KeyError, TypeError, ValueError) as error:
        raise _error(EngineError, "the phonemizer's reply is not understood") from error


def _error(kind: type[EngineError], message: str) -> EngineError:
    return kind(message, stage="tts", provider=_PROVIDER)
