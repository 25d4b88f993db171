"""A deletion whose server is killed with SIGKILL at every step, one after the other: the next goes on, to the end."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import httpx
import pytest

from metering.ledger import UsageQuery, read_all
from server.conversations.wave_file import WaveFile
from tests.scripted_server import Served, served

CHILD = Path(__file__).with_name("privacy_child.py")
ROOT = Path(__file__).parents[2]
CANARY = "marzipan-okapi-0815"
STEPS = ("ending", "conversations", "records", "journal", "ledger", "compact", "over")


def killed_at(directory: Path, step: str) -> None:
    """Let a server run until it is killed there."""
    child = subprocess.run(
        [sys.executable, str(CHILD), str(directory), step],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()


async def record(server: Served, session_id: str) -> None:
    """Give a stored conversation a recording in which the canary stands."""
    recordings = server.application.host.offices.privacy.recordings
    recording = await recordings.begin(session_id, "local", "consent_1", 8_000)
    assert recording is not None
    file = WaveFile(recordings.path(recording), 8_000, 0)
    file.append(CANARY.encode().ljust(32))
    await recordings.finish(recording, *file.close(), "over")


def expire_lease(directory: Path) -> None:
    """What the dead server had taken is anybody's at once, not in two minutes."""
    with closing(sqlite3.connect(directory / "records.sqlite3", isolation_level=None)) as records:
        records.execute("UPDATE privacy_jobs SET due_at_ms = 0 WHERE state = 'running'")


def places(directory: Path, needle: str) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file() and needle.encode() in path.read_bytes()]


@pytest.mark.timeout(300)
async def test_a_deletion_goes_on_after_every_death(tmp_path: Path) -> None:
    async with served(tmp_path) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        for number in range(3):
            await http.post("/v1/chat", json={"prompt": f"{CANARY} {number}"})
        assert await server.application.host.offices.privacy.scribe.flush(10)
        sessions = (await http.get("/v1/sessions")).json()["conversations"]
        await record(server, sessions[0]["session_id"])
    assert any(name.endswith(".wav") for name in places(tmp_path, CANARY))
    for step in STEPS:
        await anyio.to_thread.run_sync(killed_at, tmp_path, step)
        expire_lease(tmp_path)
    async with served(tmp_path) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        audit = server.application.host.offices.audit
        with anyio.fail_after(60):
            while (rows := await audit.read(tenant_id="local"))[-1].action != "privacy.delete_finished":  # noqa: ASYNC110
                await anyio.sleep(0.05)
        job = (await http.get(f"/v1/privacy/jobs/{rows[0].target}")).json()
        assert (job["state"], job["user_id"]) == ("finished", job["result"]["pseudonym"])
        assert [row.action for row in rows] == ["privacy.delete_asked", "privacy.delete_finished"]
        events = list(read_all(server.application.host.ledger, UsageQuery()))
        assert [event.user_id for event in events] == [job["user_id"]] * 3
        assert (await http.get("/v1/sessions")).json()["conversations"] == []
    assert places(tmp_path, CANARY) == []
    assert places(tmp_path, '"user_id":"local"') == []
