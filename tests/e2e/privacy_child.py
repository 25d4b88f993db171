"""A server that is killed (SIGKILL) the moment a deletion reaches a step: ``privacy_child.py DATA_DIR STEP``.

Where none is under way it asks for one, of the person at the machine.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio

from server.app import Application
from server.guard import LOCAL_USER
from server.privacy.jobs import Job, Jobs
from server.settings import load_settings
from tests.scripted_server import scripted_engines


async def main(data_dir: Path, deadly: str) -> None:
    reached, over = Jobs.reached, Jobs.over

    async def step(self: Jobs, job: Job, name: str) -> None:
        await reached(self, job, name)
        if name == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    async def end(self: Jobs, job: Job, *told: Any, **more: Any) -> None:
        if deadly == "over":
            os.kill(os.getpid(), signal.SIGKILL)
        await over(self, job, *told, **more)

    Jobs.reached, Jobs.over = step, end  # pyright: ignore[reportAttributeAccessIssue]
    application = Application(load_settings(data_dir=data_dir), engines=scripted_engines())
    async with application.open():
        office = application.host.offices.privacy
        if not await office.jobs.deletions():
            await office.ask(LOCAL_USER, "delete", "local", "local")
        await anyio.sleep(60)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
