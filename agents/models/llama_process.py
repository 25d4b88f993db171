"""Starts, checks, restarts and ends the embedded llama.cpp server's process.

Owns the child process and its secret; knows nothing of messages. A dead process is started again by the next caller
of ``endpoint``, after a pause that grows with every failure in a row. Driven by ``agents.models.embedded_llama``.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import anyio
import anyio.abc

from agents.errors import ModelUnavailable

log = logging.getLogger(__name__)

WORKER: Final = Path(__file__).with_name("llama_worker.py")
HEALTH_LIMIT_S: Final = 2.0
STOP_LIMIT_S: Final = 2.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
SETTLED_S: Final = 60.0
"""A process that ran this long was not a failed start."""
MAX_LINE_BYTES: Final = 4_096
COMPLAINT_BYTES: Final = 1_000


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """What the server is started with.

    Each of ``slots`` holds one conversation of up to ``context_tokens``; ``cache_mib`` of memory hold the prompts of
    conversations that have no slot at the moment. ``start_limit_s`` bounds loading the weights.
    """

    model_path: str
    slots: int = 2
    context_tokens: int = 2_048
    prompt_threads: int = 2
    decode_threads: int = 2
    cache_mib: int = 256
    max_output_tokens: int = 96
    start_limit_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the running server is. Equal only for the same process."""

    base_url: str
    api_key: str


class LlamaProcess:
    """One llama.cpp server process at a time."""

    def __init__(self, options: LlamaOptions, provider: str) -> None:
        self._options = options
        self._provider = provider
        self._starting = anyio.Lock()
        self._process: anyio.abc.Process | None = None
        self._endpoint: Endpoint | None = None
        self._complaints: IO[bytes] | None = None
        self._failures = 0
        self._started_at = 0.0
        self._not_before = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The running process, if any."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def endpoint(self) -> Endpoint:
        """Where the server is, started if it does not run.

        Raises:
            ModelUnavailable: it cannot be started, or failed so often that it rests for now.
        """
        async with self._starting:
            if self._endpoint is not None and self.pid is not None:
                return self._endpoint
            if self._closed:
                raise self._unavailable("The embedded language model has been shut down.")
            if self._process is not None:
                self._note_death(self._process.returncode)
                await self._end()
            if anyio.current_time() < self._not_before:
                raise self._unavailable("The embedded language model failed and is about to be restarted.")
            try:
                self._endpoint = await self._start()
            except BaseException:
                await self._end()
                raise
            return self._endpoint

    async def check(self) -> bool:
        """Whether the server answers its health check. If not, it is ended, and the next request starts another."""
        endpoint = self._endpoint
        if endpoint is None or self.pid is None:
            return False
        if await _healthy(endpoint):
            return True
        async with self._starting:
            if self._endpoint == endpoint:
                log.warning("embedded language model does not answer its health check", extra={"pid": self.pid})
                self._note_death(None)
                await self._end()
        return False

    async def aclose(self) -> None:
        """End the process. It is not started again."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with self._starting:
                await self._end()

    async def _start(self) -> Endpoint:
        options = self._options
        api_key = secrets.token_urlsafe(32)
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _end
        self._started_at = anyio.current_time()
        # In a session of its own: a terminal's signals are for the voice server, which ends this process itself.
        self._process = await anyio.open_process(
            [sys.executable, "-P", str(WORKER)], stderr=self._complaints, start_new_session=True
        )
        try:
            with anyio.fail_after(options.start_limit_s):
                await self._send({**asdict(options), "api_key": api_key})
                answer = await self._read_line()
        except (TimeoutError, OSError, ValueError, TypeError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            self._note_death(self._process.returncode)
            raise self._unavailable("The embedded language model did not start.") from error
        if "address" not in answer:
            self._note_death(None)
            log.error("embedded language model refused to start", extra={"reason": str(answer.get("error"))})
            raise self._unavailable("The embedded language model could not be loaded.")
        log.info(
            "embedded language model started",
            extra={"pid": self._process.pid, "took_ms": round((anyio.current_time() - self._started_at) * 1_000)},
        )
        return Endpoint(f"{answer['address']}/v1", api_key)

    async def _send(self, settings: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        await self._process.stdin.send(json.dumps(settings).encode() + b"\n")

    async def _read_line(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            line += await self._process.stdout.receive(MAX_LINE_BYTES)
            if len(line) > MAX_LINE_BYTES:
                raise ValueError("the worker said too much")
        answer: object = json.loads(line)
        if not isinstance(answer, dict):
            raise TypeError("the worker's answer is no object")
        return cast("dict[str, Any]", answer)

    def _note_death(self, returncode: int | None) -> None:
        """The process failed: the more often in a row, the longer until the next start."""
        if anyio.current_time() - self._started_at > SETTLED_S:
            self._failures = 0
        if self._failures:
            pause_s = min(FIRST_PAUSE_S * 2 ** (self._failures - 1), LONGEST_PAUSE_S)
            self._not_before = anyio.current_time() + pause_s
        self._failures += 1
        log.error(
            "embedded language model ended",
            extra={"returncode": returncode, "failures": self._failures, "last_words": self._last_words()},
        )

    def _last_words(self) -> str:
        if self._complaints is None:
            return ""
        size = self._complaints.seek(0, 2)
        self._complaints.seek(max(0, size - COMPLAINT_BYTES))
        return self._complaints.read().decode(errors="replace")

    async def _end(self) -> None:
        process, self._process, self._endpoint = self._process, None, None
        complaints, self._complaints = self._complaints, None
        if process is not None:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                with anyio.move_on_after(STOP_LIMIT_S):
                    await process.aclose()
        if complaints is not None:
            complaints.close()

    def _unavailable(self, message: str) -> ModelUnavailable:
        return ModelUnavailable(message, provider=self._provider)


async def _healthy(endpoint: Endpoint) -> bool:
    import httpx  # noqa: PLC0415 - slow to import, rarely needed

    try:
        with anyio.fail_after(HEALTH_LIMIT_S):
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"{endpoint.base_url.removesuffix('/v1')}/health")
    except (TimeoutError, httpx.HTTPError):
        return False
    return answer.is_success
