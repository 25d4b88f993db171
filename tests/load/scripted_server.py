"""The real server with zero-delay engines, for measuring our own overhead: ``python scripted_server.py PORT``.

Everything is the product but the three models: voice activity (gate and Silero), the turn machine, the writer, the
wire, the ledger on disk.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
from functools import partial
from pathlib import Path

import uvloop

from agents.core.options import Engines
from agents.loop.agent import Agent, AgentSpec
from agents.models.scripted import ScriptedModel
from audio.stt.scripted import ScriptedSpeechToText
from audio.tts.scripted import ScriptedTextToSpeech, ScriptedVoice
from audio.vad.chain import make_detector
from audio.vad.silero import SileroModel
from server.app import Application
from server.engine_rules import Asked
from server.engine_source import Lease
from server.engines import StageReport
from server.listening import listen
from server.observability.metrics import Metrics
from server.serving import running, settle
from server.settings import Limits, Settings

ANSWER = "This answer lasts for about two seconds"


class ScriptedEngines:
    """An ``EngineSource`` whose models cost nothing."""

    reports: tuple[StageReport, ...] = ()

    def __init__(self) -> None:
        model = ScriptedModel(ANSWER, repeat=True)
        spec = AgentSpec(agent_id="scripted", name="Scripted", instructions="Answer.", greeting=None)
        voice = ScriptedVoice(ms_per_character=2_000 // len(ANSWER))
        silero = SileroModel()
        self._engines = Engines(
            Agent(spec, model),
            ScriptedSpeechToText(["What do you say?"]),
            ScriptedTextToSpeech(voice),
            None,
            partial(make_detector, silero=silero.stream),
        )

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        return self._engines

    async def lease(self, asked: Asked, *, simple_language: bool = False) -> Lease:
        return Lease(self.for_sessions(simple_language=simple_language))

    def watch(self, metrics: Metrics) -> None:
        """Nothing to watch."""

    async def load(self) -> None:
        """Nothing to load."""

    async def tend(self) -> None:
        """Nothing to tend."""

    async def aclose(self) -> None:
        """Nothing to release."""


async def main(port: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(port=port, data_dir=Path(directory), limits=Limits(max_sessions=2_000))
        application = Application(settings, engines=ScriptedEngines())
        async with running(application, listen("127.0.0.1", port)):
            await application.wait_ready()
            settle()
            print("ready", flush=True)
            # Until the parent closes our standard input; each line asks for CPU seconds and memory.
            loop = asyncio.get_running_loop()
            while await loop.run_in_executor(None, sys.stdin.readline):
                usage = resource.getrusage(resource.RUSAGE_SELF)
                print(usage.ru_utime + usage.ru_stime, rss_kib(), flush=True)


def rss_kib() -> int:
    """Resident memory now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
