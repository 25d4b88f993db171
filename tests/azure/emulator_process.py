"""The Azure Speech emulator in a process of its own, for tests and benchmarks that use the genuine SDK.

    with azure_emulator("--say", "Go forward ten meters.") as emulator:
        speechsdk.SpeechConfig(host=emulator.ws_url, subscription="any")
        emulator.inject(preset="throttled", times=2, service="stt")
        assert emulator.state()["turns"] == 1

Scripted engines unless ``scripted=False``. Everything here blocks: from an async test, use ``anyio.to_thread``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

_ADDRESS = re.compile(r"http://[^\s]+:(\d+)")


@dataclass(frozen=True)
class EmulatorProcess:
    """One that answers. ``ws_url`` is for ``SpeechConfig(host=..)`` and ``SpeechConfig(endpoint=..)``."""

    port: int
    process: subprocess.Popen[str]

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def state(self) -> dict[str, Any]:
        """What happened so far: see ``server.azure_emulator.state``."""
        return self._call("GET", "/emulator/state")

    def reset(self) -> None:
        """Forget what happened, and let nothing go wrong any more."""
        self._call("DELETE", "/emulator/state")
        self._call("DELETE", "/emulator/faults")

    def inject(self, **fault: Any) -> None:
        """Put a fault in force: ``preset="throttled"`` or ``kind="close", code=1011, at="phrase", times=1``."""
        self._call("POST", "/emulator/faults", json=fault)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self._call("DELETE", "/emulator/faults")

    def hang_up(self) -> None:
        """Close every connection that is open."""
        self._call("DELETE", "/emulator/connections")

    def token(self, key: str = "any") -> str:
        """A bearer token."""
        url = f"{self.http_url}/sts/v1.0/issueToken"
        response = httpx.post(url, headers={"Ocp-Apim-Subscription-Key": key}, timeout=10.0)
        return response.raise_for_status().text

    def wait(self, happened: Callable[[dict[str, Any]], object], within_s: float = 10.0) -> dict[str, Any]:
        """The state once something in it is true. Raises TimeoutError."""
        until = time.monotonic() + within_s
        while not happened(state := self.state()):
            if time.monotonic() > until:
                raise TimeoutError(f"it did not happen within {within_s} s: {state}")
            time.sleep(0.02)
        return state

    def _call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        response = httpx.request(method, f"{self.http_url}{path}", timeout=10.0, **more)
        assert response.status_code == 200, response.text
        result: dict[str, Any] = response.json()
        return result


@contextmanager
def azure_emulator(*arguments: str, scripted: bool = True) -> Generator[EmulatorProcess]:
    """The emulator on a free port, while the body runs. ``arguments`` as on the command line."""
    program = "from server.cli.main import main; main()"
    command = [sys.executable, "-c", program, "azure-emulator", "--port", "0", "--until-stdin-closes", *arguments]
    if scripted:
        command.append("--scripted")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield EmulatorProcess(_port(process), process)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _port(process: subprocess.Popen[str]) -> int:
    """The port it says it listens on; it says so once it answers."""
    assert process.stdout is not None
    line = process.stdout.readline()
    match = _ADDRESS.search(line)
    if match is None:
        raise RuntimeError(f"the emulator did not start: {line!r} (exit code {process.poll()})")
    return int(match[1])
