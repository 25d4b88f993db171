"""Whole conversations on Azure at once, on this machine: what the user waits for, and what the server takes.

    .venv/bin/python tests/load/bench_azure_sessions.py [10 25 50]

Server, speech service, chat endpoint and callers share the machine: figures for many include its want of cores.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

import numpy as np
from azure_stack import AzureStack, azure_stack
from bench_client import BenchClient, last_speech_sample, percentiles, session, silence
from bench_speech import clip

SPEECH = clip("goforward")
SPEECH_END = last_speech_sample(SPEECH)
TURNS = 4
TURN_S = 9.0
LIMIT_S = 20.0


async def conversation(url: str, delay_s: float, certain_ms: list[float], audio_ms: list[float]) -> Exception | None:
    """Turns at a steady pace; from the last sample of speech to a certain turn, and to the first audio. What failed."""
    await asyncio.sleep(delay_s)
    try:
        async with session(url) as client:
            for _ in range(TURNS):
                began_s, done = time.perf_counter(), client.seen.count("chat.complete")
                await one_turn(client, certain_ms, audio_ms)
                await client.speak(silence(LIMIT_S), lambda done=done: client.seen.count("chat.complete") > done)
                await client.speak(silence(max(0.04, TURN_S - (time.perf_counter() - began_s))))
    except Exception as error:  # noqa: BLE001 - one conversation that fails is counted, the others go on
        return error
    return None


async def one_turn(client: BenchClient, certain_ms: list[float], audio_ms: list[float]) -> None:
    heard, sent, began_s = len(client.seen.audio), len(client.sent_at), time.perf_counter()
    await client.speak(np.concatenate([SPEECH, silence(4.0)]), lambda: len(client.seen.audio) > heard)
    said_s = client.sent_at[sent + SPEECH_END // 320]
    started_s = client.seen.first("turn.started", began_s)
    if started_s is None or len(client.seen.audio) == heard:
        told = [event for _, event in client.seen.events if event["type"] in {"error", "degraded"}]
        raise TimeoutError(f"no answer; told: {told[-1:]}")
    certain_ms.append((started_s - said_s) * 1_000)
    audio_ms.append((client.seen.audio[heard][0] - said_s) * 1_000)


async def load(stack: AzureStack, sessions: int) -> None:
    certain_ms, audio_ms = list[float](), list[float]()
    most = stack.usage()
    server_s, service_s, began_s = most.cpu_s, stack.service_usage().cpu_s, time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        delays_s = [number * TURN_S / sessions for number in range(sessions)]
        callers = [
            tasks.create_task(conversation(stack.server.url, delay_s, certain_ms, audio_ms)) for delay_s in delays_s
        ]
        while not all(each.done() for each in callers):
            await asyncio.sleep(1.0)
            now = stack.usage()
            most = now if now.threads > most.threads else most
    seconds = time.monotonic() - began_s
    errors = Counter(repr(error)[:160] for each in callers if (error := each.result()) is not None)
    server_s, service_s = stack.usage().cpu_s - server_s, stack.service_usage().cpu_s - service_s
    share = f"{server_s / seconds:4.0%} + {service_s / seconds:4.0%}"
    print(
        f"  {sessions:8d}  {percentiles(certain_ms)}  {percentiles(audio_ms)}  {share}   "
        f"{server_s * 1_000 / (sessions * TURNS * TURN_S):5.1f}  {most.threads:4d}  {most.memory_mib:4.0f} MiB"
        f"{f'  {sum(errors.values())} FAILED' if errors else ''}",
        flush=True,
    )
    for error, times in errors.items():
        print(f"            {times} times: {error}")


def main() -> None:
    print("  sessions  last speech -> turn certain, ms  last speech -> first audio, ms  cores: server + service")
    print("            then CPU ms per session-second, threads and memory of the server")
    for sessions in tuple(int(step) for step in sys.argv[1:]) or (10, 25, 50):
        with azure_stack() as stack:
            asyncio.run(load(stack, sessions))


if __name__ == "__main__":
    main()
