"""Azure Speech engines with the genuine SDK against a local service that answers at once: what we add.

    .venv/bin/python tests/load/bench_azure.py [--sessions 1 25] [--rounds 6]

Prints, for each number of sessions: last frame of speech pushed -> flushed transcript, and -> the service's own final;
speak -> first audio with a warm synthesizer, and for the answer after a barge-in; the same for text streams; a model
that writes twenty words a second: its first word -> first audio, in phrases and streamed; writes into the push stream;
threads and memory. Service, engines and sessions share the machine, so figures with many sessions include its want of
cores. The service begins to speak a stream at the end of a sentence, or after 120 characters: the real one may differ.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from azure.azure_engines import clip
from azure.emulator_process import azure_emulator

from agents.loop.phrases import PhraseSplitter
from agents.loop.pieces import PieceCutter
from audio.azure.credentials import KeyCredential
from audio.azure.settings import AzurePlace, AzureSttSettings, AzureTtsSettings, PoolOptions
from audio.formats import PcmChunk
from audio.inference import InferencePool
from audio.stt.azure import AzureSpeechToText
from audio.stt.azure_utterance import AzureUtterance, Piece
from audio.stt.port import SttOptions, Transcript, TranscriptKind
from audio.tts.azure import AzureTextToSpeech
from audio.tts.port import SpeechRequest

SPEECH = clip()[8_000:24_000]
PHRASE = "Good morning, how may I help you today? I can tell you about the weather."
REPLIES = {
    "short sentence": "Tomorrow will be warm. In the morning there may be a little fog beside the river, but it goes.",
    "long sentence": "Tomorrow the sun will come out everywhere in the morning and stay with us until late in the "
    "evening when a light wind from the west brings the first of the clouds that we will see for the rest of the week.",
}
"""How a reply begins."""
WORD_S = 0.05
FRAME_S = 0.02


def row(name: str, values_ms: Sequence[float]) -> None:
    p50, p95, most = np.percentile(values_ms, [50, 95, 100])
    print(f"  {name:<46} p50 {p50:7.1f}  p95 {p95:7.1f}  max {most:7.1f} ms  (n {len(values_ms)})")


def memory() -> str:
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize() / 2**20
    return f"{len(os.listdir('/proc/self/task'))} threads, {resident:.0f} MB resident"


class Hearer:
    def __init__(self) -> None:
        self.flushed = asyncio.Event()
        self.final = asyncio.Event()
        self.flushed_ms: list[float] = []
        self.final_ms: list[float] = []
        self.write_ms: list[float] = []
        self.failures: list[Exception] = []

    def on_transcript(self, transcript: Transcript) -> None:
        if transcript.kind is TranscriptKind.FLUSHED:
            self.flushed.set()

    def on_failure(self, _: int, error: Exception) -> None:
        self.failures.append(error)
        self.flushed.set()


async def hear(
    engine: AzureSpeechToText, hearer: Hearer, rounds: int, delay_s: float, finals: dict[int, float]
) -> None:
    stream = await engine.open(SttOptions(), hearer.on_transcript, hearer.on_failure)
    await asyncio.sleep(delay_s)
    for number in range(rounds):
        stream.begin(number, 0)
        due_s = time.monotonic()
        for offset in range(0, len(SPEECH), 320):
            began_s = time.perf_counter()
            stream.push(PcmChunk(SPEECH[offset : offset + 320], offset))
            hearer.write_ms.append((time.perf_counter() - began_s) * 1_000)
            if offset + 320 < len(SPEECH):
                due_s += FRAME_S
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        hearer.flushed.clear()
        finals.pop(id(stream), None)
        pushed_s = time.monotonic()
        stream.flush(number, len(SPEECH))
        await asyncio.wait_for(hearer.flushed.wait(), 10)
        hearer.flushed_ms.append((time.monotonic() - pushed_s) * 1_000)
        utterance = stream._utterance
        for _ in range(600):
            if id(utterance) in finals:
                hearer.final_ms.append((finals[id(utterance)] - pushed_s) * 1_000)
                break
            await asyncio.sleep(0.001)
        stream.end(number)
        await asyncio.sleep(0.2)
    await stream.aclose()


def watch_finals() -> dict[int, float]:
    """When each utterance first got a final of the service."""
    finals: dict[int, float] = {}
    heard = AzureUtterance.final

    def final(self: AzureUtterance, piece: Piece) -> None:
        if piece.text:
            finals[id(self)] = time.monotonic()
        heard(self, piece)

    AzureUtterance.final = final  # type: ignore[method-assign]
    return finals


async def first_audio(engine: AzureTextToSpeech, text: str = PHRASE, *, stop: bool = False) -> float:
    began_s = time.monotonic()
    first_ms = 0.0
    async with aclosing(engine.speak(SpeechRequest(text, urgent=True))) as audio:
        async for _ in audio:
            first_ms = first_ms or (time.monotonic() - began_s) * 1_000
            if stop:
                break
    return first_ms


async def talk(engine: AzureTextToSpeech, rounds: int, delay_s: float, warm: list[float], after: list[float]) -> None:
    await asyncio.sleep(delay_s)
    for _ in range(rounds):
        warm.append(await first_audio(engine))
        await asyncio.sleep(1.5)
    for _ in range(rounds):
        await first_audio(engine, stop=True)
        after.append(await first_audio(engine))
        await asyncio.sleep(1.5)


async def stream_audio(
    engine: AzureTextToSpeech, texts: AsyncGenerator[str], *, stop: bool = False
) -> tuple[float, float]:
    """From opening the stream to its first audio, and from the last text written before it."""
    began_s = wrote_s = time.monotonic()
    stream = await engine.open_text(SpeechRequest("", urgent=True))
    first: tuple[float, float] | None = None

    async def write() -> None:
        nonlocal wrote_s
        async with aclosing(texts):
            async for text in texts:
                await stream.write(text)
                if first is None:
                    wrote_s = time.monotonic()
            await stream.finish()

    writing = asyncio.create_task(write())  # noqa: TID251
    try:
        async with aclosing(stream.audio()) as audio:
            async for _ in audio:
                if first is None:
                    now_s = time.monotonic()
                    first = (now_s - began_s) * 1_000, (now_s - wrote_s) * 1_000
                    if stop:
                        break
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    return first or (0.0, 0.0)


async def at_once(text: str = PHRASE) -> AsyncGenerator[str]:
    yield text


async def dribbled(reply: str) -> AsyncGenerator[str]:
    """Pieces of a reply that is written word by word."""
    cutter = PieceCutter()
    for word in reply.split():
        for piece in cutter.feed(f" {word}"):
            yield piece.text
        await asyncio.sleep(WORD_S)
    for piece in cutter.flush():
        yield piece.text


async def dribbled_phrases(engine: AzureTextToSpeech, reply: str) -> float:
    """From the first word of such a reply to the first audio of its first phrase."""
    splitter = PhraseSplitter()
    began_s = time.monotonic()
    for word in reply.split():
        for phrase in splitter.feed(f" {word}"):
            return (time.monotonic() - began_s) * 1_000 + await first_audio(engine, phrase.text)
        await asyncio.sleep(WORD_S)
    raise AssertionError("no phrase")


async def stream(engine: AzureTextToSpeech, rounds: int) -> None:
    """Text streams, one after the other."""
    warm: list[float] = []
    after: list[float] = []
    for _ in range(rounds):
        warm.append((await stream_audio(engine, at_once()))[0])
        await asyncio.sleep(0.5)
    for _ in range(rounds):
        await stream_audio(engine, at_once(), stop=True)
        after.append((await stream_audio(engine, at_once()))[0])
        await asyncio.sleep(0.5)
    row("stream opened -> first audio, warm", warm)
    row("stream opened -> first audio, after a barge-in", after)
    for name, reply in REPLIES.items():
        streamed = [await stream_audio(engine, dribbled(reply)) for _ in range(rounds)]
        row(f"first word -> audio, streamed, {name}", [first_ms for first_ms, _ in streamed])
        row(f"last word needed -> audio, {name}", [since_ms for _, since_ms in streamed])
        phrases = [await dribbled_phrases(engine, reply) for _ in range(rounds)]
        row(f"first word -> audio, phrases, {name}", phrases)


async def measure(url: str, sessions: int, rounds: int, finals: dict[int, float]) -> None:
    pool = PoolOptions(spares=max(2, sessions // 4), most=4 * sessions + 8)
    place, key = AzurePlace(host=url), KeyCredential("any")
    async with InferencePool(workers=4, max_queued=512) as workers:
        print(f"{sessions} session(s); before: {memory()}")
        stt = AzureSpeechToText(replace(AzureSttSettings(place), pool=pool), key, workers)
        await stt.warm_up()
        await asyncio.sleep(0.5)
        hearers = [Hearer() for _ in range(sessions)]
        cpu_s, wall_s = time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, hearer in enumerate(hearers):
                tasks.create_task(hear(stt, hearer, rounds, number * 1.4 / sessions, finals))
            await asyncio.sleep(1.5)
            print(f"  recognizing: {memory()}")
        share = (time.process_time() - cpu_s) / (time.monotonic() - wall_s) * 100
        row("last frame pushed -> flushed transcript", [ms for hearer in hearers for ms in hearer.flushed_ms])
        row("last frame pushed -> final of the service", [ms for hearer in hearers for ms in hearer.final_ms] or [0.0])
        row("one push (on the event loop)", [ms for hearer in hearers for ms in hearer.write_ms])
        print(f"  processor of this process while recognizing: {share:.0f} % of one core")
        print(f"  failures: {sum(len(hearer.failures) for hearer in hearers)}")
        await stt.aclose()
        tts = AzureTextToSpeech(replace(AzureTtsSettings(place), pool=pool), key, workers)
        await tts.warm_up()
        await asyncio.sleep(0.5)
        warm: list[float] = []
        after: list[float] = []
        async with asyncio.TaskGroup() as tasks:
            for number in range(sessions):
                tasks.create_task(talk(tts, rounds, number * 1.5 / sessions, warm, after))
        row("speak -> first audio, warm", warm)
        row("speak -> first audio, after a barge-in", after)
        if sessions == 1:
            await stream(tts, rounds)
        print(f"  speaking: {memory()}; {sum(pool.made for pool in tts.pools)} synthesizers made")
        await tts.aclose()
        print(f"  released: {memory()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 25])
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    finals = watch_finals()
    with azure_emulator("--say", "Go forward ten meters.") as emulator:
        for sessions in arguments.sessions:
            asyncio.run(measure(emulator.ws_url, sessions, arguments.rounds, finals))


if __name__ == "__main__":
    main()
