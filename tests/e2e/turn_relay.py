"""coturn, for tests: a TURN server that knows a secret, on the machine of the thread that starts it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PORT = 3478
START_LIMIT_S = 10.0
END_LIMIT_S = 5.0


@contextmanager
def turn_server(address: str, secret: str, room: Path) -> Iterator[str]:
    """Its ``turn:`` URL, while it runs; skips where coturn is not installed."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.skip("coturn is not installed")
    options = [
        *("-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--fingerprint"),
        *(f"--listening-ip={address}", f"--relay-ip={address}", f"--listening-port={PORT}"),
        *("--use-auth-secret", f"--static-auth-secret={secret}", "--realm=voice.test"),
        *(f"--userdb={room / 'users'}", f"--pidfile={room / 'pid'}"),
    ]
    with (room / "coturn.log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log)
    try:
        _until_listening(address, process)
        yield f"turn:{address}:{PORT}?transport=udp"
    finally:
        process.terminate()
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_LIMIT_S)


def _until_listening(address: str, process: subprocess.Popen[bytes]) -> None:
    limit_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit_s and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((address, PORT)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("coturn did not begin to listen")
