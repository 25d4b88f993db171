"""A courier that is killed at every step: ``python mortal_courier.py DATA_DIR URL SECRET BATCH LIVES``.

Each life is a forked process that delivers until it reaches a step (before and after every reading, every request,
every transaction, and inside transactions before they are committed) at which it kills itself with SIGKILL; the next
life dies one step later. The last one lives until everything is delivered. Prints the steps at which lives ended.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parents[3]))

from metering.ledger import UsageQuery
from metering.sqlite_ledger import SqliteLedger
from server.offices import Offices, open_records
from server.settings import load_settings
from server.webhooks.courier import Courier
from server.webhooks.sender import Sender


class Fate:
    """Counts steps, and ends the process at one of them."""

    def __init__(self, last: int, told: int) -> None:
        self._left = last
        self._told = told

    def step(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            os.write(self._told, name.encode() + b"\n")
            os.kill(os.getpid(), signal.SIGKILL)


async def live(data_dir: Path, endpoint: dict[str, Any], fate: Fate) -> None:
    settings = load_settings(data_dir=data_dir, webhooks={"endpoints": [endpoint], "poll_s": 0.01})
    records = open_records(settings)
    ledger = SqliteLedger(settings.ledger_path)
    offices = Offices(settings, records, lambda: 1_790_000_000_000)
    run_write, run_read = records.run_write, records.run_read
    send, read = Sender.send, Courier._read

    async def dying_write(work: Any, *more: Any) -> Any:
        def within(connection: Any) -> Any:
            result = work(connection)
            fate.step("amid a transaction")
            return result

        fate.step("before a transaction")
        result = await run_write(within, *more)
        fate.step("after a transaction")
        return result

    async def dying_read(work: Any, *more: Any) -> Any:
        fate.step("before the records are read")
        return await run_read(work, *more)

    async def dying_send(self: Sender, message: Any) -> Any:
        fate.step("before a request")
        outcome = await send(self, message)
        fate.step("after a request")
        return outcome

    async def dying_ledger(self: Courier, *asked: Any) -> Any:
        page = await read(self, *asked)
        fate.step("after the ledger was read")
        return page

    records.run_write, records.run_read = dying_write, dying_read  # type: ignore[method-assign]
    Sender.send, Courier._read = dying_send, dying_ledger  # type: ignore[method-assign]
    await offices.webhooks.prepare(ledger)
    (courier,) = offices.webhooks._couriers
    while ledger.backlog(UsageQuery(replaced=True), await position(run_read), 1):
        await courier.step()
    ledger.close()
    records.close()


async def position(run_read: Any) -> int:
    from server.webhooks import store  # noqa: PLC0415

    at = await run_read(lambda connection: store.progress(connection, "billing"))
    return 0 if at is None else at.position


def main() -> None:
    data_dir, url, secret, batch, lives = sys.argv[1:]
    endpoint = {"id": "billing", "url": url, "secrets": [secret], "batch": int(batch), "start": "beginning"}
    for life in range(int(lives)):
        last = life + 1 if life < int(lives) - 1 else 10**9
        child = os.fork()
        if child == 0:
            try:
                anyio.run(partial(live, Path(data_dir), endpoint, Fate(last, sys.stdout.fileno())))
                os._exit(0)
            except BaseException as error:  # noqa: BLE001
                os.write(2, repr(error).encode())
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
