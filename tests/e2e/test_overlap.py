"""Sounds over the agent's voice, with the real engines: a hum leaves it alone, speech does not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from bench_client import session, silence
from real_server import RealServer
from spoken import clip

from audio.codecs.resample import StreamResampler
from audio.formats import HEARING_RATE_HZ, Samples
from audio.wav import read_wav

pytestmark = pytest.mark.engines


def hum(word: str, tmp_path: Path) -> Samples:
    """What somebody mumbles who listens, at the level of speech."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng, which hums for this test, is not installed")
    path = tmp_path / "hum.wav"
    subprocess.run(["espeak-ng", "-w", str(path), word], check=True)
    samples, rate_hz = read_wav(path)
    heard = StreamResampler(rate_hz, HEARING_RATE_HZ).process(samples)
    return (heard * (6_000 / max(1, int(np.abs(heard).max())))).astype(np.int16)


@pytest.mark.parametrize("word", ["mhm", "hmm"])
async def test_a_hum_does_not_end_the_answer(embedded: RealServer, tmp_path: Path, word: str) -> None:
    sound = hum(word, tmp_path)
    async with session(embedded.url) as client:
        await client.speak(np.concatenate([clip("librivox_0890"), silence(12)]), stop=lambda: bool(client.seen.audio))
        await client.speak(np.concatenate([silence(0.4), sound]))
        await client.speak(silence(30), stop=lambda: client.seen.count("chat.complete") > 0)
        assert not client.seen.last("chat.complete")["interrupted"]
        assert client.seen.count("turn.started") == 1


async def test_speech_ends_the_answer_and_is_answered(embedded: RealServer) -> None:
    async with session(embedded.url) as client:
        await client.speak(np.concatenate([clip("librivox_0890"), silence(12)]), stop=lambda: bool(client.seen.audio))
        await client.speak(np.concatenate([silence(0.4), clip("librivox_0930")]))
        await client.speak(silence(30), stop=lambda: client.seen.count("chat.complete") > 1)
        first = next(event for _, event in client.seen.events if event["type"] == "chat.complete")
        assert first["interrupted"]
        assert client.seen.count("turn.started") == 2
