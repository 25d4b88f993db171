"""A real PostgreSQL for tests: its own data directory and socket, started when first asked for, gone with the tests.

Debian's and the PGDG's packages put the programs under ``/usr/lib/postgresql``; otherwise they are looked for in the
``PATH``. initdb refuses root, so as root it all runs as the system user ``postgres`` or ``nobody``. It listens on a
socket in its own directory and, for a proxy to stand in front, on a free loopback port.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg

MOST_S = 60


def programs() -> Path | None:
    """Where PostgreSQL 15 or newer lives; None where it is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    found = installed[-1] if installed else Path(on_path) if on_path else None
    return found.resolve().parent if found is not None and _major(found) >= 15 else None


def _major(initdb: Path) -> int:
    said = subprocess.run([initdb, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    return int(said.split()[2].partition(".")[0])


@cache
def _owner() -> pwd.struct_passwd | None:
    """Who runs it: nobody else than ourselves, unless we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("there is no system user to run PostgreSQL as")


class PostgresServer:
    """One running server. ``database`` makes a new, empty database and gives its URL."""

    def __init__(self, bin_directory: Path, directory: Path) -> None:
        self._bin = bin_directory
        self.directory = directory
        self._data = directory / "data"
        self.port = _free_port()

    def create(self) -> None:
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "convergio", "-E", "UTF8", "--locale=C", "-N")
        settings = [
            f"port = {self.port}",
            "listen_addresses = '127.0.0.1'",
            f"unix_socket_directories = '{self.directory}'",
            "max_connections = 40",
            "shared_buffers = 32MB",
            "log_min_messages = fatal",
        ]
        with (self._data / "postgresql.auto.conf").open("a") as file:
            file.write("\n".join(settings) + "\n")

    def start(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-l", self.directory / "log", "-w", "-t", MOST_S, "start")

    def stop(self, mode: str = "fast") -> None:
        """``immediate`` is what a crash is to the database."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "-t", MOST_S, "stop")

    def url(self, database: str, *, tcp: bool = False) -> str:
        host = "127.0.0.1" if tcp else self.directory
        return f"postgresql://convergio@/{database}?host={host}&port={self.port}"

    def database(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # pyright: ignore[reportArgumentType]
        return self.url(name)

    def _run(self, program: str, *arguments: object) -> None:
        owner = _owner()
        who = {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        done = subprocess.run(
            [self._bin / program, *map(str, arguments)],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=2 * MOST_S,
            check=False,
            **who,  # pyright: ignore[reportArgumentType]
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")


@contextmanager
def running_postgres() -> Generator[PostgresServer]:
    """A server of one's own while the body runs. Raises RuntimeError where there is none (see ``programs``)."""
    where = programs()
    if where is None:
        raise RuntimeError("PostgreSQL 15 or newer is not installed (Debian, Ubuntu: apt-get install postgresql)")
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path must be short
    owner = _owner()
    if owner is not None:
        os.chown(directory, owner.pw_uid, owner.pw_gid)
    server = PostgresServer(where, directory)
    try:
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
