"""WebRTC beside the WebSocket: the same conversations, the same zero-delay engines, one core for the server.

How long connecting takes; last speech sample -> first audible sample out of the client's own jitter buffer, beside the
same over the socket; and how many WebRTC conversations a core holds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench_capacity import SETTINGS, TURN_S, scripted_server
from bench_client import RATE_HZ, last_speech_sample, percentiles, session, silence
from bench_rtc_client import packets_of, rtc_session
from bench_speech import clip

CLIP = "librivox_0930"
PACKET_S = 0.02


async def over_socket(url: str, turns: int) -> list[float]:
    """Ms from the last speech sample sent to the first audio received, turn by turn."""
    speech = clip(CLIP)
    end = last_speech_sample(speech)
    waits: list[float] = []
    async with session(url, **SETTINGS) as client:
        for _ in range(turns):
            heard, sent = len(client.seen.audio), len(client.sent_at)
            padded = np.concatenate([speech, silence(2.0)])
            await client.speak(padded, stop=lambda heard=heard: len(client.seen.audio) > heard)
            said_s = client.sent_at[sent + end // 320]
            waits.append((client.seen.audio[heard][0] - said_s) * 1_000)
            await client.speak(silence(3.0))
    return waits


async def over_webrtc(url: str, turns: int, delay_s: float = 0.0) -> tuple[float, list[float]]:
    """Ms to connect, and the same waits over WebRTC."""
    speech = clip(CLIP)
    packets, end = packets_of(speech), last_speech_sample(speech)
    waits: list[float] = []
    await asyncio.sleep(delay_s)
    async with rtc_session(url, **SETTINGS) as client:
        for _ in range(turns):
            began_s, heard, sent = time.perf_counter(), len(client.loud_at), len(client.microphone.sent_at)
            await client.speak(packets)
            said_s = client.microphone.sent_at[sent + int(end / RATE_HZ / PACKET_S)]
            await client.until(lambda heard=heard: len(client.loud_at) > heard, 20.0)
            waits.append((client.loud_at[heard] - said_s) * 1_000)
            await asyncio.sleep(max(0.0, TURN_S + 0.5 - (time.perf_counter() - began_s)))
        return client.connected_ms, waits


def run(port: int, steps: tuple[int, ...], turns: int) -> None:
    """Print the figures."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with scripted_server(port) as server:
        asyncio.run(over_webrtc(server.url, 1))  # the first connection makes the certificate
        socket = asyncio.run(over_socket(server.url, 8))
        connects: list[float] = []
        rtc: list[float] = []
        for _ in range(4):
            connected_ms, waits = asyncio.run(over_webrtc(server.url, 2))
            connects.append(connected_ms)
            rtc += waits
        print(f"  offer -> data channel open           {percentiles(connects)} ms")
        print(f"  last speech -> first audio, socket   {percentiles(socket)} ms")
        print(f"  last speech -> first audio, WebRTC   {percentiles(rtc)} ms (client's jitter buffer included)")
        print(f"  WebRTC adds                          {np.median(rtc) - np.median(socket):.0f} ms at the median")
    with scripted_server(port) as server:
        print("  conversations  last speech -> first audio, ms      CPU ms per        core   memory")
        print("  over WebRTC                                        session-second")
        for sessions in steps:
            cpu_before, _ = server.usage()
            began_s = time.perf_counter()
            waits = asyncio.run(_load(server.url, sessions, turns))
            cpu_s, rss_kib = server.usage()
            seconds = time.perf_counter() - began_s
            cost = (cpu_s - cpu_before) * 1_000 / (sessions * turns * (TURN_S + 0.5))
            busy = (cpu_s - cpu_before) / seconds
            print(
                f"  {sessions:13d}  {percentiles(waits)}      {cost:6.1f}         {busy:4.0%}   {rss_kib // 1024} MiB",
                flush=True,
            )


async def _load(url: str, sessions: int, turns: int) -> list[float]:
    results = await asyncio.gather(
        *(over_webrtc(url, turns, number * TURN_S / sessions) for number in range(sessions)), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            print(f"  failed: {result!r}")
    return [wait for result in results if not isinstance(result, BaseException) for wait in result[1]]


if __name__ == "__main__":
    run(18_082, tuple(int(step) for step in sys.argv[1:]) or (10, 25, 40), 3)
