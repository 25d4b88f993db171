"""What it costs to tell who is calling: known callers by key and by session, and strangers.

``python tests/load/bench_identity.py``; a few seconds. Prints microseconds of processor time per request.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import anyio

from metering.records import Records
from server.audit import AUDIT, AuditLog
from server.errors import Refused
from server.guard import LOCAL_USER
from server.identity import IDENTITY, IdentityOffice
from server.identity.key_book import NewKey
from server.identity.presented import presented
from server.settings import load_settings

ROUNDS, REQUESTS = 20, 2_000


def epoch_ms() -> int:
    return time.time_ns() // 1_000_000


def scope(value: str) -> dict[str, object]:
    headers = [(b"host", b"localhost:8080"), (b"user-agent", b"bench"), (b"authorization", f"Bearer {value}".encode())]
    return {"type": "http", "method": "GET", "path": "/v1/me", "headers": headers, "client": ("127.0.0.1", 1)}


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        records = Records.in_file(Path(directory) / "records.sqlite3")
        records.migrate([AUDIT, IDENTITY])
        office = IdentityOffice(
            load_settings(host="0.0.0.0"),
            records,
            AuditLog(records, epoch_ms),
            epoch_ms,
            time.monotonic,
        )
        for _ in range(100):
            _, value = await office.keys.create(LOCAL_USER, NewKey("default", "k"))
        token = (await office.logins.by_key(value, "127.0.0.1")).token
        for name, given in (("key", value), ("session", token), ("stranger", "wrong-wrong-wrong")):
            print(f"{name:9} {await measured(office, given):6.1f} us")
        started_s = time.process_time()
        for _ in range(200):
            await office.callers.sync()
        print(f"looking for changes {(time.process_time() - started_s) / 200 * 1e6:6.0f} us, every two seconds")
        records.close()


async def measured(office: IdentityOffice, value: str) -> float:
    took: list[float] = []
    for _ in range(ROUNDS):
        started_s = time.process_time()
        for _ in range(REQUESTS):
            with suppress(Refused):
                await office.authenticate(presented(scope(value)))
        took.append((time.process_time() - started_s) / REQUESTS * 1e6)
    return median(took)


if __name__ == "__main__":
    anyio.run(main)
