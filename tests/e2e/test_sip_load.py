"""Very many calls (sipp): a thousand set up and torn down, and nothing is left of them."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest
from sip_endpoints import LOOPBACK, eventually, exchange
from sip_phones import free_port

pytestmark = pytest.mark.timeout(170)

_LIMIT_S = 120


def require_sipp() -> None:
    if shutil.which("sipp") is None:
        pytest.skip("sipp is not installed (Debian, Ubuntu: apt-get install sip-tester)")


def sipp(directory: Path, port: int, transport: str, calls: int) -> subprocess.CompletedProcess[str]:
    """Calls of sipp's own scenario ``uac``: INVITE, ACK, a moment, BYE."""
    command = ["sipp", "-sn", "uac", f"127.0.0.1:{port}", "-t", transport, "-m", str(calls), "-r", "25", "-d", "100"]
    command += ["-l", "150", "-i", "127.0.0.1", "-p", str(free_port()), "-s", "agent", "-nostdin", "-trace_err"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=_LIMIT_S, check=False)


@pytest.mark.parametrize(("transport", "calls"), [("u1", 1_000), ("t1", 200)])
async def test_calls_leave_nothing_behind(tmp_path: Path, transport: str, calls: int) -> None:
    require_sipp()
    trunk = LOOPBACK | {"invites_per_s": 1_000}
    process = psutil.Process()
    async with exchange(echo=False, trunks=[trunk], max_calls=400, rtp_ports="42000-43999", codecs=["pcmu"]) as server:
        tasks, files = len(asyncio.all_tasks()), process.num_fds()
        kind = "UDP" if transport == "u1" else "TCP"
        done = await anyio.to_thread.run_sync(lambda: sipp(tmp_path, server.port(kind), transport, calls))
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]
        await server.empty()
        assert len(server.talks) == calls
        assert {talk.reason for talk in server.talks} == {"caller"}
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
        await eventually(lambda: process.num_fds() <= files)
        if kind == "TCP":
            await eventually(lambda: server.endpoint.signalling.links.open_streams == 0)
        # What waits for late repetitions is bounded in time (RFC 3261, timers I, J and L).
        await eventually(lambda: server.endpoint.signalling.transactions == 0, 50)
