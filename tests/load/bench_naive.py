"""The baseline: the same engines in a naive serial loop, every wait added to the next.

Wait for 300 ms of silence, transcribe, ask the model for its first clause, synthesize that, play.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import anyio
import numpy as np
from bench_client import last_speech_sample, silence
from bench_speech import clip

from agents.core.options import Engines
from agents.loop.agent import Agent
from agents.loop.history import History
from agents.loop.phrases import PhraseSplitter
from agents.loop.reply_parts import ReplyDelta, ReplyLimits
from audio.formats import PcmChunk
from audio.stt.port import SpeechToText, SttOptions, Transcript
from audio.tts.port import SpeechRequest, TextToSpeech
from audio.vad.gate import WebRtcGate
from server.engines import EngineSet
from server.settings import Settings

SILENCE_MS = 300
FRAME = 320


async def naive(names: list[str]) -> list[float]:
    """Ms from the last speech sample of each clip to the first clause's audio."""
    engines = EngineSet(Settings())
    await engines.load()
    try:
        ready = engines.for_sessions()
        return [await _turn(ready, name) for name in names]
    finally:
        await engines.aclose()


async def _turn(engines: Engines, name: str) -> float:
    assert engines.stt is not None
    assert engines.tts is not None
    speech = np.concatenate([clip(name), silence(2.0)])
    end = last_speech_sample(clip(name))
    heard = _silence_heard(speech, end)
    began_s = time.perf_counter()
    text = await _transcribe(engines.stt, speech[:heard])
    clause = await _first_clause(engines.agent, text)
    await _synthesize(engines.tts, clause)
    return (heard - end) / 16 + (time.perf_counter() - began_s) * 1_000


def _silence_heard(speech: np.ndarray, end: int) -> int:
    """Samples until the WebRTC detector has been silent for long enough after the last speech."""
    gate, quiet_ms = WebRtcGate(2), 0
    for at in range(0, len(speech) - FRAME, FRAME):
        quiet_ms = 0 if gate.is_voiced(speech[at : at + FRAME]) else quiet_ms + 20
        if at + FRAME > end and quiet_ms >= SILENCE_MS:
            return at + FRAME
    return len(speech)


async def _transcribe(stt: SpeechToText, speech: np.ndarray) -> str:
    done: asyncio.Future[Transcript] = asyncio.get_running_loop().create_future()

    def failed(_: int, error: Exception) -> None:
        done.set_exception(error)

    stream = await stt.open(SttOptions(partials=False), done.set_result, failed)
    stream.begin(1, 0)
    stream.push(PcmChunk(speech, 0))
    stream.flush(1, len(speech))
    try:
        return (await done).text
    finally:
        await stream.aclose()


async def _first_clause(agent: Agent, text: str) -> str:
    committed = anyio.Event()
    committed.set()
    messages = History().with_user(text, agent.system_prompt)
    splitter = PhraseSplitter()
    async with aclosing(agent.reply(messages, committed=committed, limits=ReplyLimits(10, 10))) as parts:
        async for part in parts:
            if isinstance(part, ReplyDelta) and (phrases := splitter.feed(part.text)):
                return phrases[0].text
    return "".join(phrase.text for phrase in splitter.flush())


async def _synthesize(tts: TextToSpeech, clause: str) -> None:
    async with aclosing(tts.speak(SpeechRequest(clause))) as audio:
        async for _ in audio:
            pass
