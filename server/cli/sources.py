"""Where the terminal's audio comes from: a recording played at its own pace, or the microphone.

Yields mono int16 samples in real time. Blocking file I/O happens before the loop starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np
from anyio.streams.memory import MemoryObjectSendStream

from audio.codecs.resample import StreamResampler
from audio.errors import AudioFormatError
from audio.formats import HEARING_RATE_HZ, PCM_RATES_HZ, Samples
from audio.wav import read_wav
from server.cli.voice_client import CHUNK_MS, TalkError

MICROPHONE_QUEUE: Final = 250
"""Chunks of 20 ms the microphone may be ahead of the connection; newer ones are dropped then."""


def load_recording(path: Path) -> tuple[Samples, int]:
    """A WAV file as samples at a rate the voice socket takes. Raises TalkError."""
    try:
        samples, rate_hz = read_wav(path)
    except FileNotFoundError as error:
        raise TalkError(f"There is no file {path}.") from error
    except (OSError, AudioFormatError) as error:
        raise TalkError(f"{path} cannot be played: {error}") from error
    if not len(samples):
        raise TalkError(f"{path} holds no audio.")
    if rate_hz in PCM_RATES_HZ:
        return samples, rate_hz
    resampler = StreamResampler(rate_hz, HEARING_RATE_HZ)
    return np.concatenate([resampler.process(samples), resampler.flush()]), HEARING_RATE_HZ


async def play(samples: Samples, rate_hz: int) -> AsyncIterator[Samples]:
    """A recording, 20 ms at a time, as a microphone would give it."""
    size = rate_hz * CHUNK_MS // 1_000
    began_at_s = time.monotonic()
    for number, start in enumerate(range(0, len(samples), size)):
        due_s = began_at_s + number * CHUNK_MS / 1_000
        await anyio.sleep(max(0.0, due_s - time.monotonic()))
        yield samples[start : start + size]


async def microphone() -> AsyncIterator[Samples]:
    """The default microphone at 16 kHz, until cancelled. Raises TalkError."""
    sounddevice = _sounddevice()
    loop = asyncio.get_running_loop()
    send, receive = anyio.create_memory_object_stream[Samples](MICROPHONE_QUEUE)

    def captured(data: Any, _frames: int, _time: Any, _status: Any) -> None:
        """Called on PortAudio's thread."""
        samples = np.frombuffer(bytes(data), np.int16)
        with contextlib.suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(_offer, send, samples)

    try:
        stream = sounddevice.RawInputStream(
            samplerate=HEARING_RATE_HZ,
            channels=1,
            dtype="int16",
            blocksize=HEARING_RATE_HZ * CHUNK_MS // 1_000,
            callback=captured,
        )
    except sounddevice.PortAudioError as error:
        raise TalkError(f"The microphone cannot be opened: {error}") from error
    with stream:
        async for samples in receive:
            yield samples


def _offer(send: MemoryObjectSendStream[Samples], samples: Samples) -> None:
    with contextlib.suppress(anyio.WouldBlock, anyio.BrokenResourceError):
        send.send_nowait(samples)


def _sounddevice() -> Any:
    try:
        return import_module("sounddevice")
    except ImportError as error:
        raise TalkError("The microphone needs one more package: uv sync --inexact --extra microphone") from error
    except OSError as error:
        raise TalkError(
            "The microphone needs the PortAudio library (Debian, Ubuntu: sudo apt-get install libportaudio2)."
        ) from error
