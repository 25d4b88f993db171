"""One phrase spoken by an Azure Speech account and recognised by it again, measured stage by stage.

The genuine engines on connections of their own; changes nothing. Driven by ``doctor`` (``server.cli.account_checks``)
and by the smoke test (``scripts/smoke_azure.py``).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import anyio
import numpy as np

from audio.azure.room import ConnectionRoom
from audio.azure.sdk import load_sdk
from audio.codecs.resample import StreamResampler
from audio.errors import EngineError
from audio.formats import HEARING_RATE_HZ, PcmChunk, Samples
from audio.stt.port import SpeechToText, SttOptions, Transcript, TranscriptKind
from audio.tts.port import SpeechRequest, TextToSpeech
from server.azure_engines import AzureSpeech
from server.azure_settings import AzureSettings

PHRASE: Final = "The library opens at nine in the morning."
REACH_LIMIT_S: Final = 5.0
ANSWER_LIMIT_S: Final = 10.0
BETTER_LIMIT_S: Final = 2.0
WORKERS: Final = 2
CONNECTIONS: Final = 16
_CHUNK: Final = HEARING_RATE_HZ // 50
_PORTS: Final = {"wss": 443, "https": 443, "ws": 80, "http": 80}


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What was heard of what was said, and how long each stage took."""

    heard: str
    connect_ms: int
    first_audio_ms: int
    audio_ms: int
    final_ms: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """A phrase's audio (16 kHz), and how long its first piece took."""

    samples: Samples
    first_audio_ms: int


def locale_of(azure: AzureSettings) -> str:
    """The locale of the account's voice."""
    return "-".join(azure.voice.split("-")[:2])


def addresses(azure: AzureSettings) -> Iterator[tuple[str, int, bool]]:
    """The hosts that must be reached: name, port, and whether by TLS."""
    if azure.region is not None:
        yield f"{azure.region}.stt.speech.microsoft.com", 443, True
        yield f"{azure.region}.tts.speech.microsoft.com", 443, True
        return
    parts = urlsplit(azure.host or azure.endpoint or "")
    yield parts.hostname or "", parts.port or _PORTS[parts.scheme], parts.scheme in ("wss", "https")


async def reach(azure: AzureSettings) -> int:
    """Milliseconds until the last of its hosts was reached (name, TCP, TLS). Raises OSError, TimeoutError."""
    took_ms = 0
    for host, port, tls in addresses(azure):
        began_s = time.monotonic()
        with anyio.fail_after(REACH_LIMIT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context() if tls else None)
        took_ms = max(took_ms, _since_ms(began_s))
        writer.close()
    return took_ms


async def round_trip(azure: AzureSettings, phrase: str = PHRASE) -> RoundTrip:
    """Say it and hear it. Raises EngineError."""
    await asyncio.to_thread(load_sdk, "stt")
    async with AzureSpeech(azure, ConnectionRoom(CONNECTIONS), WORKERS) as speech:
        stt = await speech.speech_to_text()
        try:
            began_s = time.monotonic()
            await stt.warm_up()
            connect_ms = _since_ms(began_s)
            tts = await speech.text_to_speech()
            try:
                await tts.warm_up()
                spoken = await speak(tts, phrase, locale_of(azure))
            finally:
                await tts.aclose()
            heard, final_ms = await recognise(stt, spoken.samples, phrase, locale_of(azure))
        finally:
            await stt.aclose()
    audio_ms = len(spoken.samples) * 1_000 // HEARING_RATE_HZ
    return RoundTrip(heard, connect_ms, spoken.first_audio_ms, audio_ms, final_ms)


async def speak(tts: TextToSpeech, phrase: str, locale: str) -> Spoken:
    """The phrase at 16 kHz. Raises EngineError."""
    began_s, first_ms = time.monotonic(), -1
    resample = StreamResampler(tts.profile.sample_rate_hz, HEARING_RATE_HZ)
    pieces: list[Samples] = []
    async with aclosing(tts.speak(SpeechRequest(phrase, locale))) as audio:
        async for piece in audio:
            if first_ms < 0:
                first_ms = _since_ms(began_s)
            pieces.append(resample.process(piece.samples))
    if not pieces:
        raise EngineError("it spoke nothing", stage="tts", provider="azure")
    return Spoken(np.concatenate([*pieces, resample.flush()]), first_ms)


async def recognise(stt: SpeechToText, samples: Samples, phrase: str, locale: str) -> tuple[str, int]:
    """What it hears at the pace of speech, and the milliseconds from the last sample to the text.

    Raises EngineError, TimeoutError.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    better: asyncio.Future[str] = loop.create_future()

    def heard(transcript: Transcript) -> None:
        if transcript.kind is TranscriptKind.FLUSHED and not answer.done():
            answer.set_result(transcript.text)
        elif transcript.kind is TranscriptKind.CORRECTED and not better.done():
            better.set_result(transcript.text)

    def failed(_: int, error: EngineError) -> None:
        if not answer.done():
            answer.set_exception(error)

    stream = await stt.open(SttOptions(locale), heard, failed)
    try:
        stream.begin(1, 0)
        began_s = time.monotonic()
        for start in range(0, len(samples), _CHUNK):
            await anyio.sleep(max(0.0, began_s + start / HEARING_RATE_HZ - time.monotonic()))
            stream.push(PcmChunk(samples[start : start + _CHUNK], start))
        ended_s = time.monotonic()
        stream.flush(1, len(samples))
        with anyio.fail_after(ANSWER_LIMIT_S):
            text = await answer
        final_ms = _since_ms(ended_s)
        if words(text) != words(phrase):
            with anyio.move_on_after(BETTER_LIMIT_S):
                text = await better
        return text, final_ms
    finally:
        await stream.aclose()


def words(text: str) -> list[str]:
    """A text's words, without case and signs."""
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def _since_ms(began_s: float) -> int:
    return round((time.monotonic() - began_s) * 1_000)
