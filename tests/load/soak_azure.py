"""Conversations on Azure that come and go for half an hour: does the server keep what it took?

    .venv/bin/python tests/load/soak_azure.py [--minutes 30] [--callers 8]

Each caller talks for one to three turns, then ends as people do: says goodbye, is gone in the middle of a word, talks
over the answer and leaves, or has its connection cut. Prints the server's threads, open files and memory as they go,
and once everybody has left. Ends with 1 where threads, files or memory were not flat.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from azure_stack import AzureStack, Usage, azure_stack
from bench_client import BenchClient, session, silence
from bench_speech import clip

SPEECH = clip("goforward")
ENDINGS = ("goodbye", "mid-word", "over the answer", "cut")
SETTLE_S = 30.0
WARM_SHARE = 1 / 3
"""What has passed when growth begins to count: pools fill, allocators take what they will keep."""
MOST_GROWTH_MIB_PER_HOUR = 12.0
SLACK = 12
"""Threads and files that sessions under way make come and go."""


@dataclass
class Tally:
    """What the callers saw."""

    turns: int = 0
    endings: Counter[str] = field(default_factory=Counter[str])
    troubles: Counter[str] = field(default_factory=Counter[str])


async def one_conversation(url: str, chance: random.Random, tally: Tally) -> None:
    ending = chance.choice(ENDINGS)
    async with session(url) as client:
        for _ in range(chance.randint(1, 3)):
            await turn(client)
            tally.turns += 1
        if ending == "mid-word":
            await client.speak(SPEECH[: chance.randint(8_000, len(SPEECH) - 8_000)])
        elif ending == "over the answer":
            heard = len(client.seen.audio)
            await client.speak(np.concatenate([SPEECH, silence(2.0)]), lambda: len(client.seen.audio) > heard)
            await client.speak(SPEECH)
        if ending == "goodbye":
            await client.command(type="voice.stop")
        if ending == "cut":
            client.socket.transport.abort()
        for event in (event for _, event in client.seen.events if event["type"] in {"error", "degraded"}):
            tally.troubles[f"{event['type']}: {event.get('code') or event.get('reason')}"] += 1
    tally.endings[ending] += 1


async def turn(client: BenchClient) -> None:
    """Say it, and listen to the end of the answer."""
    done = client.seen.count("chat.complete")
    await client.speak(np.concatenate([SPEECH, silence(2.0)]))
    async with asyncio.TaskGroup() as tasks:
        room = tasks.create_task(client.speak(silence(30.0)))
        await client.until(lambda: client.seen.count("chat.complete") > done)
        room.cancel()


async def caller(url: str, number: int, until_s: float, tally: Tally) -> None:
    chance = random.Random(number)
    while time.monotonic() < until_s:
        try:
            await one_conversation(url, chance, tally)
        except Exception as error:  # noqa: BLE001 - a soak counts what goes wrong and goes on
            tally.troubles[repr(error)[:120]] += 1
        await asyncio.sleep(chance.uniform(0.0, 2.0))


async def soak(stack: AzureStack, callers: int, minutes: float) -> bool:
    """Run, print, judge."""
    tally, samples = Tally(), list[tuple[float, Usage]]()
    idle, began_s = stack.usage(), time.monotonic()
    print(f"  idle: {words(idle)}", flush=True)
    async with asyncio.TaskGroup() as tasks:
        until_s = began_s + minutes * 60
        for number in range(callers):
            tasks.create_task(caller(stack.server.url, number, until_s, tally))
        while (now_s := time.monotonic()) < until_s:
            samples.append((now_s - began_s, stack.usage()))
            if len(samples) % 12 == 1:
                print(f"  {samples[-1][0] / 60:5.1f} min: {words(samples[-1][1])}; {tally.turns} turns", flush=True)
            await asyncio.sleep(5.0)
    await asyncio.sleep(SETTLE_S)
    after = stack.usage()
    print(f"  everybody gone: {words(after)}")
    print(f"  conversations by their end: {dict(tally.endings)}; {tally.turns} turns")
    print(f"  troubles: {dict(tally.troubles) or 'none'}")
    return judged(samples, after)


def judged(samples: list[tuple[float, Usage]], after: Usage) -> bool:
    """Whether it was flat after the warm-up, in print."""
    warm = [(at_s, usage) for at_s, usage in samples if at_s >= samples[-1][0] * WARM_SHARE]
    hours = np.array([at_s for at_s, _ in warm]) / 3_600
    flat = True
    for name, most in (("memory_mib", MOST_GROWTH_MIB_PER_HOUR), ("threads", SLACK), ("files", SLACK)):
        values = np.array([getattr(usage, name) for _, usage in warm])
        slope = float(np.polyfit(hours, values, 1)[0])
        half = len(values) // 2
        first, last = float(np.median(values[:half])), float(np.median(values[half:]))
        fine = slope <= most if name == "memory_mib" else last - first <= most
        flat = flat and fine
        print(f"  {name:<11} median {first:6.1f} -> {last:6.1f}, {slope:+7.1f} an hour{'' if fine else '  NOT FLAT'}")
    most_of = {name: max(getattr(usage, name) for _, usage in warm) for name in ("threads", "files")}
    for name, most in most_of.items():
        if getattr(after, name) > most:
            print(f"  {name} after everybody left: more than ever before  NOT FLAT")
            flat = False
    return flat


def words(usage: Usage) -> str:
    return f"{usage.threads} threads, {usage.files} files, {usage.memory_mib:.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--callers", type=int, default=8)
    arguments = parser.parse_args()
    with azure_stack() as stack:
        flat = asyncio.run(soak(stack, arguments.callers, arguments.minutes))
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
