"""The main job, measured from outside: human speech in over a real socket, embedded engines, the answer's first byte.

Side by side with the naive serial loop over the same engines and clips: wait for 300 ms of silence, transcribe, ask the
model, synthesize its first clause, play. Turns cut off are counted against a rule of 700 ms of silence.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bench_client import BenchClient, last_speech_sample, percentiles, session, silence
from bench_naive import naive
from bench_speech import clip, clips

STAGES = ("endpoint", "stt", "agent", "tts", "egress", "total")
RULE_MS = 700


@contextmanager
def embedded_server(port: int) -> Iterator[tuple[str, float]]:
    """A server as ``make run`` starts it; its URL, and the seconds from start to ready."""
    command = [str(Path(sys.executable).with_name("convergio-voice")), "serve", "--port", str(port)]
    with TemporaryDirectory() as directory:
        environment = os.environ | {"CONVERGIO_DATA_DIR": directory}
        began_s = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url, process)
            yield url, time.perf_counter() - began_s
        finally:
            process.terminate()
            process.wait(20)


def wait_ready(url: str, process: subprocess.Popen[bytes], limit_s: float = 120.0) -> None:
    """Return once ``/readyz`` says 200."""
    limit = time.perf_counter() + limit_s
    while time.perf_counter() < limit and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("the server did not become ready")


async def ask(url: str, name: str, totals: list[float], stages: dict[str, list[float]]) -> int:
    """Speak one clip; returns how many turns it was cut into."""
    speech = clip(name)
    end = last_speech_sample(speech)
    async with session(url) as client:
        await client.speak(silence(0.3))
        padded = np.concatenate([speech, silence(6.0)])
        sent = await client.speak(padded, stop=lambda: bool(client.seen.audio) and len(client.seen.events) > 0)
        if not client.seen.audio:
            totals.append(float("inf"))
            return client.seen.count("turn.started")
        spoken_s = sent[min(len(sent) - 1, (end - 1) // 320)]
        cut = client.seen.audio[0][0] < spoken_s
        if not cut:
            totals.append((client.seen.audio[0][0] - spoken_s) * 1_000)
        await client.until(lambda: client.seen.count("turn.latency") > 0, 5)
        latency = client.seen.last("turn.latency")
        for stage in latency["stages"] if latency else []:
            stages.setdefault(stage["stage"], []).append(stage["duration_ms"])
        await drain(client)
        return 2 if cut else client.seen.count("turn.started")


async def drain(client: BenchClient) -> None:
    """Stop the answer, so the next clip meets a quiet server."""
    await client.command(type="voice.cancel")
    await client.until(lambda: client.seen.count("chat.complete") > 0, 10)


async def barge_in(url: str, times: int) -> tuple[list[float], list[float]]:
    """Ms from the user's onset, and from the VAD's decision, to the last byte of the agent's audio."""
    question = clip("librivox_0890")
    names = [name for name in clips() if len(clip(name)) > 1.5 * 16_000]
    from_onset: list[float] = []
    from_decision: list[float] = []
    for name in (names * times)[:times]:
        interruption = clip(name)
        onset = int(np.argmax(np.abs(interruption.astype(np.int32)) > 1_500)) // 320
        async with session(url) as client:
            await client.speak(
                np.concatenate([question, silence(6)]), stop=lambda client=client: bool(client.seen.audio)
            )
            await client.speak(silence(0.5))
            began = len(client.seen.events)
            sent = await client.speak(np.concatenate([interruption, silence(0.4)]))
            spoken_s = sent[onset]
            decided = next((at for at, e in client.seen.events[began:] if e["type"] == "vad.speech_started"), None)
            stopped = client.seen.first("voice.interrupted", spoken_s)
            if decided is None or stopped is None:
                continue
            last_byte_s = max(at for at, _ in client.seen.audio if at <= stopped + 0.001)
            from_onset.append((last_byte_s - spoken_s) * 1_000)
            from_decision.append((last_byte_s - decided) * 1_000)
            await client.command(type="voice.cancel")
    return from_onset, from_decision


def cut_by_rule(name: str) -> bool:
    """Whether a pause inside the clip is as long as the fixed rule's silence."""
    samples = clip(name).astype(np.float64)
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1.0)
    loud = np.nonzero(level > level.max() - 25.0)[0]
    return bool(len(loud)) and int(np.diff(loud).max(initial=1)) * 10 >= RULE_MS


def import_s(times: int = 5) -> float:
    """Seconds to import the command line in a fresh interpreter, without the interpreter's own start; the median."""
    code = "import time; began = time.perf_counter(); import server.cli.main; print(time.perf_counter() - began)"
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(times)
    ]
    return float(np.median([float(run.stdout) for run in runs]))


def run(port: int, repeats: int) -> None:
    """Print the figures."""
    print(f"  import of the command line             {import_s():.2f} s")
    names = [name for name in clips() if len(clip(name)) < 8 * 16_000]
    totals: list[float] = []
    stages: dict[str, list[float]] = {}
    turns = 0
    with embedded_server(port) as (url, ready_s):
        print(f"  start to ready                         {ready_s:.1f} s")
        for _ in range(repeats):
            for name in names:
                count = asyncio.run(ask(url, name, totals, stages))
                turns += count
        from_onset, from_decision = asyncio.run(barge_in(url, 16))
    serial = asyncio.run(naive(names * repeats))
    print(f"  last speech sample -> first audio byte {percentiles(totals)} ms")
    print(f"  the naive serial loop, same engines    {percentiles(serial)} ms")
    print(f"  ratio naive / ours                     {np.median(serial) / np.median(totals):.2f}")
    for stage in STAGES:
        print(f"    stage {stage:8s}                       {percentiles(stages.get(stage, []))} ms")
    rule = sum(cut_by_rule(name) for name in names) * repeats
    asked = len(names) * repeats
    print(f"  turns cut off: {turns - asked} (a {RULE_MS} ms silence rule: {rule}) of {asked}")
    print(f"  barge-in, user onset -> last byte      {percentiles(from_onset)} ms")
    print(f"  barge-in, VAD decision -> last byte    {percentiles(from_decision)} ms")


if __name__ == "__main__":
    run(18_081, int(sys.argv[1]) if len(sys.argv) > 1 else 2)
