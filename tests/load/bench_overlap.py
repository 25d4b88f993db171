"""Sounds over the agent's voice, measured from outside: what stops it, what does not, and how soon it goes on.

A server with its embedded engines, a telephone in a room (``echo_phone``), human recordings as interruptions, and what
people mumble while they listen (synthesized by espeak-ng, and a burst of noise for a cough). Once as a headset, and
once as a telephone on a table whose echo the server has already found.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bench_client import percentiles, silence
from bench_latency import embedded_server
from bench_speech import clip, clips
from echo_phone import OUTPUT_HZ, Telephone, telephone
from echo_room import EchoRoom

from audio.codecs.resample import StreamResampler
from audio.echo import BANDS, band_levels, match_echo
from audio.formats import HEARING_RATE_HZ, Samples
from audio.wav import read_wav

PORT = 8197
PROMPT, TURN = "Tell me a long story about the sea.", "bench-turn"
MUMBLED = ("mhm", "hmm", "uh-huh", "yeah", "okay", "right", "I see")
ECHO_DB = -26.0
INTO_S = 0.7
"""How far the agent is into its answer when somebody makes a sound."""


@dataclass
class Figures:
    """Of one room, in ms."""

    stopped_ms: list[float] = field(default_factory=list)
    resumed_ms: list[float] = field(default_factory=list)
    interruptions: int = 0
    sounds: int = 0
    ended: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    held: int = 0


@asynccontextmanager
async def answered(url: str, gain_db: float | None) -> AsyncIterator[Telephone]:
    """A call in which the agent is well into a long answer; where there is an echo, the server has found it by then."""
    async with telephone(url, EchoRoom(OUTPUT_HZ, gain_db=gain_db)) as phone:
        await phone.command(type="chat.start", request_id=TURN, prompt=PROMPT)
        await phone.until(lambda: phone.audio)
        if gain_db is not None:
            await phone.until(lambda: phone.count("degraded") or phone.count("voice.audio.done"))
        await asyncio.sleep(INTO_S)
        yield phone


async def interrupt(phone: Telephone, name: str, figures: Figures) -> None:
    """Speak a recording over the answer: from its onset to the last byte of the agent's audio."""
    speech = clip(name)
    onset_s = int(np.argmax(np.abs(speech.astype(np.int32)) > 1_500)) / HEARING_RATE_HZ
    if not goes_on(phone):
        return
    began_s = time.perf_counter()
    await phone.say(speech)
    stopped_s = phone.first_s("voice.interrupted", began_s)
    figures.interruptions += 1
    if stopped_s is None:
        figures.missed.append(name)
        return
    last_s = max(at for at, _ in phone.audio if at <= stopped_s + 0.001)
    figures.stopped_ms.append((last_s - began_s - onset_s) * 1_000)


async def mumble(phone: Telephone, name: str, sound: Samples, figures: Figures) -> None:
    """Make a sound over the answer that means nothing: does it go on, and how long after the sound?"""
    if not goes_on(phone):
        return
    began_s = time.perf_counter()
    over_s = began_s + len(sound) / HEARING_RATE_HZ
    await phone.say(np.concatenate([sound, silence(2.0)]))
    told = [(at, event) for at, event in phone.events if at >= began_s and event.get("request_id") == TURN]
    cut = [event for _, event in told if event["type"] == "voice.interrupted"]
    figures.sounds += 1
    figures.held += any(event["resumable"] for event in cut)
    if any(not event["resumable"] for event in cut):
        figures.ended.append(name)
    figures.resumed_ms += [(at - over_s) * 1_000 for at, event in told if event["type"] == "voice.resumed"][-1:]


def goes_on(phone: Telephone) -> bool:
    """Whether there is an answer to make a sound over."""
    return not phone.count("voice.audio.done")


def sounds() -> dict[str, Samples]:
    """What people mumble, at the level of speech, and a cough."""
    random = np.random.default_rng(5)
    burst = random.normal(0.0, 1.0, HEARING_RATE_HZ // 4) * np.exp(-np.arange(HEARING_RATE_HZ // 4) / 1_200)
    made = {"cough": np.clip(burst * 5_000, -32_768, 32_767).astype(np.int16)}
    if shutil.which("espeak-ng") is None:
        return made
    with TemporaryDirectory() as directory:
        for voice in ("en-us", "en-gb+f3"):
            for word in MUMBLED:
                path = Path(directory) / "sound.wav"
                subprocess.run(["espeak-ng", "-v", voice, "-w", str(path), word], check=True)
                samples, rate_hz = read_wav(path)
                heard = StreamResampler(rate_hz, HEARING_RATE_HZ).process(samples)
                loud = np.nonzero(np.abs(heard) > 100)[0]
                heard = heard[loud[0] : loud[-1] + 1]
                made[f"{word} ({voice})"] = (heard * (6_000 / np.abs(heard).max())).astype(np.int16)
    return made


async def measure(url: str, gain_db: float | None, names: Sequence[str]) -> Figures:
    figures = Figures()
    for name in names:
        async with answered(url, gain_db) as phone:
            await interrupt(phone, name, figures)
    for name, sound in sounds().items():
        async with answered(url, gain_db) as phone:
            await mumble(phone, name, sound, figures)
    return figures


def show(room: str, figures: Figures) -> None:
    kept = figures.sounds - len(figures.ended)
    print(f"  {room}")
    print(f"    interruptions that stop the agent      {len(figures.stopped_ms)} of {figures.interruptions}")
    print(f"    onset -> last byte of its audio        {percentiles(figures.stopped_ms)} ms")
    print(f"    mumbles and coughs that do not end it  {kept} of {figures.sounds} ({figures.held} held it a moment)")
    print(f"    end of the sound -> it goes on         {percentiles(figures.resumed_ms)} ms")
    if figures.missed:
        print(f"    not stopped by                         {', '.join(figures.missed)}")
    if figures.ended:
        print(f"    ended by                               {', '.join(figures.ended)}")


def cost() -> None:
    """Microseconds of one look for an echo, made a dozen times a second while both sides make a sound."""
    random = np.random.default_rng(1)
    heard = random.integers(-3_000, 3_000, 121 * 320).astype(np.int16)
    far = band_levels(random.integers(-3_000, 3_000, 160 * 320).astype(np.int16), HEARING_RATE_HZ)
    assert far.shape[1] == BANDS
    began_s = time.process_time()
    for _ in range(200):
        match_echo(band_levels(heard[320:], HEARING_RATE_HZ, heard[:320]), far)
    print(f"  one look for an echo                     {(time.process_time() - began_s) / 200 * 1e6:.0f} us of CPU")


def main() -> None:
    """Print the figures."""
    cost()
    names = [name for name in clips() if len(clip(name)) > 1.5 * HEARING_RATE_HZ]
    with embedded_server(PORT) as (url, _):
        show("a headset", asyncio.run(measure(url, None, names)))
        show(f"a telephone on the table, echo at {ECHO_DB:.0f} dB", asyncio.run(measure(url, ECHO_DB, names)))


if __name__ == "__main__":
    main()
