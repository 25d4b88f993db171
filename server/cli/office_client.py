"""How commands reach what a server keeps: a running one by its URL, or this machine's own records without one.

Without a URL the same routes are answered in this process, by a server that listens nowhere and loads no engine, in the
name of the person at the machine. Commands import this when they are run.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import click
import httpx
from pydantic import ValidationError

from agents.core.options import Engines
from metering.journal import running_owners
from server.app import Application
from server.contracts.errors import ErrorBody
from server.engine_rules import Asked
from server.engine_source import Lease
from server.observability.metrics import Metrics
from server.settings import Settings
from server.stage_reports import StageReport

ASK_LIMIT_S: Final = 60.0
JOB_LIMIT_S: Final = 600.0
JOB_LOOK_S: Final = 0.25
_REFUSED_FROM: Final = 400


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: a server, or (no ``url``) this machine's records."""

    settings: Settings
    url: str | None = None
    api_key: str | None = None


class OfficeClient:
    """The HTTP API, with its refusals as sentences."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str | None
    ) -> dict[str, Any]:
        """The answer's JSON. Raises click.ClickException."""
        given = {name: value for name, value in query.items() if value is not None}
        sent = None if body is None else {name: value for name, value in body.items() if value is not None}
        answer = await self._send(method, path, given, sent)
        return dict(answer.json()) if answer.content else {}

    async def save(self, path: str, target: Path) -> None:
        """Write what is there into a new file, readable by its owner only. Raises click.ClickException, OSError."""
        answer = await self._send("GET", path, {}, None)

        def write() -> None:
            target.touch(mode=0o600, exist_ok=False)
            target.write_bytes(answer.content)

        await anyio.to_thread.run_sync(write)

    async def job(self, kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for an export or a deletion, and wait until it is over. Raises click.ClickException."""
        job = await self.ask("POST", f"/v1/privacy/{kind}", body)
        until_s = time.monotonic() + JOB_LIMIT_S
        while job["state"] in {"waiting", "running"}:
            if time.monotonic() > until_s:
                raise click.ClickException(f"It is not done yet; the server goes on with it ({job['job_id']}).")
            await anyio.sleep(JOB_LOOK_S)
            job = await self.ask("GET", f"/v1/privacy/jobs/{job['job_id']}")
        return job

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None
    ) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, params=dict(query), json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise click.ClickException(f"{self._http.base_url} cannot be asked: {error}.") from error
        if answer.status_code >= _REFUSED_FROM:
            raise click.ClickException(_refusal(answer))
        return answer


@asynccontextmanager
async def office_client(target: Target) -> AsyncGenerator[OfficeClient]:
    """A client, while the body runs. Raises click.ClickException, RecordsError."""
    if target.url is not None:
        key = target.api_key or next((key.get_secret_value() for key in target.settings.api_keys), None)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = target.url.rstrip("/")
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=ASK_LIMIT_S, trust_env=False) as http:
            yield OfficeClient(http)
        return
    if running_owners(target.settings.journal_path):
        raise click.ClickException(
            "A server is running on this data directory: name it (--url http://localhost:8080), so that what goes on "
            "there is ended first."
        )
    application = Application(target.settings, engines=_NoEngines(), local_caller=True)
    async with application.open():
        transport = httpx.ASGITransport(app=application.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=ASK_LIMIT_S) as http:
            yield OfficeClient(http)


class _NoEngines:
    """``EngineSource`` of a server that holds no conversation."""

    @property
    def reports(self) -> tuple[StageReport, ...]:
        return ()

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        raise NotImplementedError("no conversation is held here")

    async def lease(self, asked: Asked, *, simple_language: bool = False) -> Lease:
        raise NotImplementedError("no conversation is held here")

    def watch(self, metrics: Metrics) -> None:
        """There is nothing to measure."""

    async def load(self) -> None:
        """There is nothing to load."""

    async def tend(self) -> None:
        """There is nothing to tend."""

    async def aclose(self) -> None:
        """There is nothing to release."""


def _refusal(answer: httpx.Response) -> str:
    """The server's own sentence, where it is one."""
    try:
        error = ErrorBody.model_validate_json(answer.content).error
    except ValidationError:
        return f"The server answered with status {answer.status_code}."
    holds: list[str] = (error.details or {}).get("holds", [])
    return f"{error.message} ({', '.join(holds)})" if holds else error.message
