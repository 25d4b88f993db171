"""A real Redis for tests: on a free loopback port, without a file on the disk, started when first asked for."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

MOST_S = 30.0


def program() -> str | None:
    """Where redis-server is; None where it is not installed."""
    return shutil.which("redis-server")


class RedisServer:
    """One running server. ``url`` is that of its first database, which ``clear`` empties."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        found = program()
        assert found is not None, "redis-server is not installed"
        arguments = [found, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [*arguments, "--dir", str(self._directory)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until_s = time.monotonic() + MOST_S
        with Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                except RedisError:
                    assert time.monotonic() < until_s, "redis-server does not answer"
                    time.sleep(0.02)
                else:
                    return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(MOST_S)
            self._process = None

    def clear(self) -> None:
        with Redis(port=self.port) as client:
            client.flushall()


@contextmanager
def running_redis() -> Generator[RedisServer]:
    """A server of one's own while the body runs."""
    directory = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
