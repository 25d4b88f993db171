"""A server that must come through whatever a test does to it: unharmed, answering, and with nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import psutil
from spoken import encoded, said
from voice_socket import begun

from audio.formats import AudioFormat, Encoding
from metering.records.database import WORKERS
from tests.scripted_server import ScriptedEngines, Served, eventually, served

WIRE = AudioFormat(Encoding.PCM16, 16_000)


@dataclass(frozen=True)
class Footprint:
    """What sessions and connections cost a process, theirs and their clients'."""

    sessions: int
    tasks: int
    descriptors: int
    threads: int

    def within(self, other: Footprint) -> bool:
        """Whether nothing here is more than there."""
        return all(getattr(self, name) <= getattr(other, name) for name in self.__dataclass_fields__)


def footprint(server: Served) -> Footprint:
    process = psutil.Process()
    sessions = len(server.application.host.registry)
    return Footprint(sessions, len(asyncio.all_tasks()), process.num_fds(), process.num_threads())


async def answers(server: Served) -> None:
    """A person who speaks is understood and answered aloud."""
    async with begun(server, binary=True) as client:
        await client.send_audio(encoded(said("goforward", 1.0), WIRE))
        done = await client.until("chat.complete")
        assert done["text"] == "You said: Go forward ten meters.."
        assert client.audio
        await client.say("voice.stop")
        assert await client.closed() == 1000


async def filled(server: Served) -> None:
    """Every connection to the records there will ever be is open, with the thread that uses it: those stay."""
    together = threading.Barrier(WORKERS)
    async with anyio.create_task_group() as tasks:
        for _ in range(WORKERS):
            tasks.start_soon(server.application.host.offices.records.run_read, lambda _: together.wait(10))


@asynccontextmanager
async def resilient(data_dir: Path, engines: ScriptedEngines | None = None, **settings: Any) -> AsyncGenerator[Served]:
    """The server, while the body does its worst; afterwards it answers and is as small as before.

    Sessions wait for lost connections for an instant only.
    """
    settings["limits"] = {"resume_window_s": 0.1} | settings.get("limits", {})
    async with served(data_dir, engines, **settings) as server:
        await answers(server)
        await eventually(lambda: len(server.application.host.registry) == 0)
        await filled(server)
        before = footprint(server)
        yield server
        await answers(server)
        await eventually(lambda: footprint(server).within(before), 30)
