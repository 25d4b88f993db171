"""What the tests about people's data share: a server with tenants, questions asked, what is stored, files searched."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from spoken import encoded, said
from voice_socket import Client

from audio.formats import AudioFormat, Encoding
from server.audit import AuditLog
from server.conversations.tables import conversations
from server.identity.settings_keys import SettingsKeys, digest_bytes
from tests.scripted_server import Served, served

ADMIN = "an-operators-long-secret"
SCHOOL = "a-schools-long-secret"
PUPIL = "a-pupils-long-secret"
PASSWORD = "a-pass-phrase-of-theirs"
CANARY = "xylophone-quokka-4711"
DAY_MS = 86_400_000
TENANTS = [{"id": "school", "type": "school", "api_keys": [SCHOOL, PUPIL]}]


def http_of(server: Served, key: str | None = None) -> httpx.AsyncClient:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False, timeout=20)


@asynccontextmanager
async def with_keys(directory: Path, **settings: Any) -> AsyncGenerator[Served]:
    async with served(directory, api_keys=[ADMIN], tenants=TENANTS, **settings) as server:
        yield server


async def ask(http: httpx.AsyncClient, words: str) -> None:
    answer = await http.post("/v1/chat", json={"prompt": words})
    assert answer.status_code == httpx.codes.OK, answer.text


async def stored(http: httpx.AsyncClient, at_least: int = 1, **filters: Any) -> list[dict[str, Any]]:
    """The conversations one may see, once there are so many."""
    with anyio.fail_after(20):
        while True:
            answer = await http.get("/v1/sessions", params=filters)
            assert answer.status_code == httpx.codes.OK, answer.text
            found: list[dict[str, Any]] = answer.json()["conversations"]
            if len(found) >= at_least and all("ended_at_ms" in each for each in found):
                return found
            await anyio.sleep(0.02)


async def done(http: httpx.AsyncClient, job: dict[str, Any]) -> dict[str, Any]:
    """A job, once it is over."""
    with anyio.fail_after(60):
        while True:
            told: dict[str, Any] = (await http.get(f"/v1/privacy/jobs/{job['job_id']}")).json()
            if told["state"] not in {"waiting", "running"}:
                return told
            await anyio.sleep(0.05)


async def speak(voice: Client) -> None:
    """Say something, and hear the answer."""
    await voice.send_audio(encoded(said("goforward"), AudioFormat(Encoding.PCM16, 16_000)))
    await voice.until("chat.complete")


def user_of(server: Served, key: str) -> str:
    owner = SettingsKeys(server.application.settings).by_digest(digest_bytes(key))
    assert owner is not None
    return owner.user_id


def files_with(directory: Path, needle: str) -> list[str]:
    """Every file of the server in which these bytes stand, databases and their logs first of all."""
    return [path.name for path in directory.rglob("*") if path.is_file() and needle.encode() in path.read_bytes()]


async def age(server: Served, days: int) -> None:
    """Let stored conversations be so many days older."""
    table = conversations
    change = table.update().values(last_at_ms=table.c.last_at_ms - days * DAY_MS)
    await server.application.host.offices.records.run_write(lambda connection: connection.execute(change).rowcount)


def audit(server: Served) -> AuditLog:
    return server.application.host.offices.audit
