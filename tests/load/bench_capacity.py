"""How many conversations one core holds, and what we add to them: zero-delay engines, real sockets, real frames.

The server runs on one core, the load on the other. Each session streams 20 ms frames in real time: human speech of
about three seconds, a turn every six, answers of two seconds. Overhead is end of speech (as voice activity hears it) ->
first audio byte at the client, less the configured silence.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import websockets
from bench_client import BenchClient, percentiles, session, silence
from bench_speech import clip

SILENCE_MS = 200
TURN_S = 6.0
SETTINGS = {
    "turn_detection": {"min_wait_ms": SILENCE_MS, "max_wait_ms": SILENCE_MS, "min_silence_ms": 96},
    "output": {"captions": False},
}
HERE = Path(__file__).parent


@dataclass(slots=True)
class ScriptedServer:
    """The server under load."""

    process: subprocess.Popen[str]
    url: str

    def usage(self) -> tuple[float, int]:
        """CPU seconds so far, resident KiB now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        cpu_s, rss_kib = self.process.stdout.readline().split()
        return float(cpu_s), int(rss_kib)


@contextmanager
def scripted_server(port: int, core: int | None = 0, program: str = "scripted_server.py") -> Iterator[ScriptedServer]:
    """A scripted server on one core (or another program that answers like it)."""
    pin = [] if core is None or os.cpu_count() == 1 else ["taskset", "-c", str(core)]
    command = [*pin, sys.executable, str(HERE / program), str(port)]
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent.parent}:{HERE}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield ScriptedServer(process, f"http://127.0.0.1:{port}")
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


@dataclass(slots=True)
class Figures:
    """Ms of every turn: overhead as the client sees it, and the server's own word on certain -> first byte."""

    overhead: list[float] = field(default_factory=list[float])
    committed_to_sent: list[float] = field(default_factory=list[float])


async def converse(url: str, turns: int, delay_s: float, figures: Figures) -> None:
    """One session's turns."""
    speech = clip("librivox_0930")
    await asyncio.sleep(delay_s)
    async with session(url, **SETTINGS) as client:
        for _ in range(turns):
            began_s = time.perf_counter()
            figures.overhead.append(await one_turn(client, speech))
            rest_s = TURN_S - (time.perf_counter() - began_s)
            if rest_s > 0:
                await client.speak(silence(rest_s))
        for _, event in client.seen.events:
            if event["type"] == "turn.latency":
                stages = {stage["stage"]: stage["duration_ms"] for stage in event["stages"]}
                figures.committed_to_sent.append(stages["total"] - stages["endpoint"])


async def one_turn(client: BenchClient, speech: np.ndarray) -> float:
    """Speak, listen; the overhead in ms (infinite where no answer came)."""
    heard, seen = len(client.seen.audio), len(client.seen.events)
    await client.speak(np.concatenate([speech, silence(2.0)]), stop=lambda: len(client.seen.audio) > heard)
    stops = [event["at_ms"] for _, event in client.seen.events[seen:] if event["type"] == "vad.speech_stopped"]
    if len(client.seen.audio) == heard or not stops:
        return float("inf")
    return (client.seen.audio[heard][0] - client.sent_ms(stops[-1])) * 1_000 - SILENCE_MS


async def load(url: str, sessions: int, turns: int) -> Figures:
    """All sessions' turns, spread evenly over the period."""
    figures = Figures()
    async with asyncio.TaskGroup() as tasks:
        for number in range(sessions):
            tasks.create_task(converse(url, turns, number * TURN_S / sessions, figures))
    return figures


async def floor(server: ScriptedServer, sessions: int, seconds: float) -> float:
    """CPU ms per session-second of a bare echo of the same 20 ms frames."""
    frame, address = bytes(640), server.url.replace("http", "ws", 1)

    async def talk() -> None:
        async with websockets.connect(address, compression=None, ping_interval=None) as socket:
            began_s = time.perf_counter()
            for number in range(int(seconds / 0.02)):
                await asyncio.sleep(max(0.0, began_s + number * 0.02 - time.perf_counter()))
                await socket.send(frame)
                await socket.recv()

    before, _ = server.usage()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(sessions):
            tasks.create_task(talk())
    after, _ = server.usage()
    return (after - before) * 1_000 / (sessions * seconds)


async def idle_memory(server: ScriptedServer, sessions: int) -> float:
    """KiB per session that is open, has heard ten seconds of room noise and is idle."""
    _, before = server.usage()
    room = silence(10.0)
    async with asyncio.TaskGroup() as tasks:
        idle, opened = asyncio.Barrier(sessions + 1), asyncio.Event()

        async def hold() -> None:
            async with session(server.url, **SETTINGS) as client:
                for at in range(0, len(room), 3_200):
                    await client.socket.send(room[at : at + 3_200].tobytes())
                await asyncio.sleep(0.5)
                await idle.wait()
                await opened.wait()

        for _ in range(sessions):
            tasks.create_task(hold())
        await idle.wait()
        _, after = server.usage()
        opened.set()
    return (after - before) / sessions


async def cancel_to_clear(url: str, times: int) -> list[float]:
    """``voice.cancel`` sent -> ``voice.interrupted`` received, ms."""
    waits: list[float] = []
    speech = clip("librivox_0930")
    async with session(url, **SETTINGS) as client:
        for _ in range(times):
            await one_turn(client, speech)
            await asyncio.sleep(0.3)
            sent_s = await client.command(type="voice.cancel")
            await client.until(lambda sent_s=sent_s: client.seen.first("voice.interrupted", sent_s) is not None)
            waits.append((client.seen.first("voice.interrupted", sent_s) - sent_s) * 1_000)
            await client.speak(silence(1.0))
    return waits


def run(port: int, steps: tuple[int, ...], turns: int) -> None:
    """Print the table."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with scripted_server(port) as server:
        print(f"  memory per idle session                {asyncio.run(idle_memory(server, 100)):.0f} KiB")
    with scripted_server(port, program="echo_server.py") as server:
        echo = asyncio.run(floor(server, 50, 8.0))
        print(f"  the floor: a bare echo of the frames   {echo:.1f} ms of CPU per session-second")
    with scripted_server(port) as server:
        single = asyncio.run(load(server.url, 1, 8))
        print(f"  one session: turn certain -> first byte  {percentiles(single.committed_to_sent)} ms")
        print(
            f"  cancel -> clear on the wire              {percentiles(asyncio.run(cancel_to_clear(server.url, 8)))} ms"
        )
        print(
            "  sessions   end of speech -> first byte       turn certain -> first byte       CPU ms per   core   memory"
        )
        print("             less the configured silence, ms   ms                               session-second")
        for sessions in steps:
            cpu_before, _ = server.usage()
            began_s = time.perf_counter()
            figures = asyncio.run(load(server.url, sessions, turns))
            cpu_s, rss_kib = server.usage()
            cost = (cpu_s - cpu_before) * 1_000 / (sessions * turns * TURN_S)
            busy = (cpu_s - cpu_before) / (time.perf_counter() - began_s)
            print(
                f"  {sessions:8d}   {percentiles(figures.overhead)}     {percentiles(figures.committed_to_sent)}"
                f"    {cost:6.1f}         {busy:4.0%}   {rss_kib // 1024} MiB",
                flush=True,
            )


if __name__ == "__main__":
    run(18_080, tuple(int(step) for step in sys.argv[1:]) or (25, 50, 100, 125, 150), 3)
