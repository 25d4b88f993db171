"""Calls by SIP that all echo: how late their packets are sent, and what of a core they take.

``python tests/load/bench_sip.py [calls] [seconds]``; both sides are ours, each in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path

import anyio
import anyio.to_thread
import uvloop

sys.path[:0] = [str(Path(__file__).parents[1] / "e2e"), str(Path(__file__).parents[2])]

from sip_endpoints import LOOPBACK, exchange  # noqa: E402

from server.telephony.sip.outbound import LATENESS_MS  # noqa: E402

PCMU = {"codecs": ["pcmu"], "max_calls": 400}


def callers(ready: multiprocessing.Queue[str], port: int, calls: int, seconds: float) -> None:
    async def call() -> None:
        trunk = {"name": "out", "host": "127.0.0.1", "port": port}
        async with exchange(trunks=[trunk], rtp_ports="43000-43999", echo=False, **PCMU) as side:
            for _ in range(calls):
                await side.endpoint.dial("100", "out", 30)
            ready.put("ready")
            await anyio.sleep(seconds + 2)

    uvloop.run(call())


async def main(calls: int, seconds: float) -> None:
    ready: multiprocessing.Queue[str] = multiprocessing.Queue()
    trunk = LOOPBACK | {"invites_per_s": 1_000}
    async with exchange(trunks=[trunk], rtp_ports="44000-44999", **PCMU) as server:
        process = multiprocessing.Process(target=callers, args=(ready, server.port(), calls, seconds))
        process.start()
        await anyio.to_thread.run_sync(ready.get)
        before, cpu_s, began_s = server.endpoint.late_counts(), time.process_time(), time.monotonic()
        await anyio.sleep(seconds)
        sent = [now - then for then, now in zip(before, server.endpoint.late_counts(), strict=True)]
        share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        await anyio.to_thread.run_sync(process.join)
    total = sum(sent) or 1
    print(f"{calls} calls, {total / seconds / calls:.1f} packets a second each, {share:.0%} of a core")
    for at, bound in enumerate(LATENESS_MS):
        print(f"  less than {bound:2} ms late: {sum(sent[: at + 1]) / total:.2%}")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    arguments = [float(argument) for argument in sys.argv[1:]]
    uvloop.run(main(int(arguments[0]) if arguments else 100, arguments[1] if len(arguments) > 1 else 10.0))
