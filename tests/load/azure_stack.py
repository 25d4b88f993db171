"""A whole server on Azure for load: the server with the genuine SDK, a local speech service, a local chat endpoint.

Everything answers at once, so that what is measured is ours. Processes are the server's and the speech service's own.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from azure.emulator_process import EmulatorProcess, azure_emulator
from clients.chat_endpoint import chat_endpoint
from real_server import PROGRAM, RealServer, serving

ASKED = "Go forward ten meters."


@dataclass(frozen=True)
class Usage:
    """What a process has at a moment: processor seconds since it started, resident MiB, threads, open files."""

    cpu_s: float
    memory_mib: float
    threads: int
    files: int


@dataclass(frozen=True)
class AzureStack:
    """The running processes."""

    server: RealServer
    service: EmulatorProcess

    def usage(self) -> Usage:
        """What the server uses now."""
        return _usage(self.server.process.pid)

    def service_usage(self) -> Usage:
        """What the local speech service uses now."""
        return _usage(self.service.process.pid)


def _usage(pid: int) -> Usage:
    process = psutil.Process(pid)
    with process.oneshot():
        cpu = process.cpu_times()
        return Usage(cpu.user + cpu.system, process.memory_info().rss / 2**20, process.num_threads(), process.num_fds())


@contextmanager
def azure_stack(**settings: object) -> Iterator[AzureStack]:
    """All of it while the body runs; nobody steps in, so that what fails shows."""
    with (
        tempfile.TemporaryDirectory() as folder,
        chat_endpoint() as chat,
        azure_emulator("--say", ASKED) as service,
    ):
        chosen = {
            "stt__engine": "azure",
            "tts__engine": "azure",
            "stt__fallback": "none",
            "tts__fallback": "none",
            "azure__host": service.ws_url,
            "azure__key": "any",
            "azure__most": 160,
            "azure__spares": 8,
            "model__engine": "openai",
            "model__api_key": "any",
            "model__model": "always-the-same",
            "model__base_url": chat.base_url,
            "model__fallback": "none",
            **settings,
        }
        with serving([str(PROGRAM), "serve", "--port", "0"], Path(folder), chosen) as server:
            yield AzureStack(server, service)
