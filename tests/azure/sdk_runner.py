"""Scenarios for the genuine Speech SDK, run in a process beside the tests: see ``sdk_program``."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("sdk_program.py")
ANSWER_LIMIT_S = 55.0


class SdkRunner:
    """Runs one scenario after the other; a process that died or hangs is replaced for the next."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, do: str, **given: Any) -> dict[str, Any]:
        """What happened. Raises RuntimeError where the SDK took its process down, TimeoutError where it hangs."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        process.stdin.flush()
        answer: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read_line, args=(process, answer), daemon=True).start()
        try:
            line = answer.get(timeout=ANSWER_LIMIT_S)
        except queue.Empty:
            self.close()
            raise TimeoutError(f"the SDK gave no answer within {ANSWER_LIMIT_S} s") from None
        if not line:
            code = process.wait(5)
            self.close()
            raise RuntimeError(f"the SDK's process ended with {code}")
        report: dict[str, Any] = json.loads(line)
        assert "failed" not in report, report["failed"]
        return report

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(5)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        return self._process


def _read_line(process: subprocess.Popen[str], answer: queue.Queue[str]) -> None:
    assert process.stdout is not None
    try:
        answer.put(process.stdout.readline())
    except ValueError:  # closed meanwhile
        answer.put("")


@contextmanager
def sdk_runner() -> Generator[SdkRunner]:
    runner = SdkRunner()
    try:
        yield runner
    finally:
        runner.close()


def of(report: dict[str, Any], event: str) -> list[dict[str, Any]]:
    """The events of one kind in a report of the SDK."""
    return [each for each in report["events"] if each["event"] == event]
