"""What the client programs in Python share: their arguments, a microphone in real time, and the report they print.

Standard library only, and no SDK: see ``dialogue`` for the conversation.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import time
import traceback
import wave
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dialogue import SAMPLE_RATE_HZ, Dialogue

NOISE_LEVEL = 10


@dataclass(frozen=True)
class Arguments:
    """Where to connect, as whom, with which recordings, and for how long at most."""

    url: str
    key: str
    clips: Path
    output: Path
    limit_s: float
    chunk_ms: int
    variant: str


def arguments(*variants: str) -> Arguments:
    """``--url http://host:port --key KEY --clips DIRECTORY --output DIRECTORY [--variant NAME]``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True, help="of the server: http://host:port")
    parser.add_argument("--key", required=True)
    parser.add_argument("--clips", type=Path, required=True, help="with errand.wav, question.wav and interruption.wav")
    parser.add_argument("--output", type=Path, required=True, help="where the answers' audio is written")
    parser.add_argument("--limit-s", type=float, default=90.0)
    parser.add_argument("--chunk-ms", type=int, default=40)
    parser.add_argument("--variant", choices=variants or None, default=variants[0] if variants else "")
    return Arguments(**vars(parser.parse_args()))


class Microphone:
    """A quiet room in which recordings are played when asked: a chunk at a time, for ever, paced by who reads it."""

    def __init__(self, clips: Path, chunk_ms: int) -> None:
        self.chunk_s = chunk_ms / 1_000
        self._clips = clips
        self._samples = SAMPLE_RATE_HZ * chunk_ms // 1_000
        self._waiting: deque[bytes] = deque()
        self._random = random.Random(1)

    def say(self, clip: str, after_s: float = 0.0) -> None:
        """Play a recording as soon as what is playing is over and a pause has passed."""
        with wave.open(str(self._clips / f"{clip}.wav")) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE_HZ, 1, 2)
            speech = file.readframes(file.getnframes())
        self._waiting.extend(self._room() for _ in range(round(after_s / self.chunk_s)))
        step = self._samples * 2
        self._waiting.extend(speech[at : at + step].ljust(step, b"\0") for at in range(0, len(speech), step))

    def chunk(self) -> bytes:
        """The next chunk: 16 bit little-endian, mono."""
        return self._waiting.popleft() if self._waiting else self._room()

    def _room(self) -> bytes:
        noise = (round(self._random.gauss(0, NOISE_LEVEL)) for _ in range(self._samples))
        return struct.pack(f"<{self._samples}h", *noise)


class Pace:
    """Real time, chunk after chunk: ``wait_s`` is how long to wait before the next one is due."""

    def __init__(self, chunk_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._chunk_s, self._clock = chunk_s, clock
        self._due_s = clock()

    def wait_s(self) -> float:
        self._due_s += self._chunk_s
        return max(0.0, self._due_s - self._clock())


@contextmanager
def reported(dialogue: Dialogue, output: Path) -> Iterator[None]:
    """Whatever happens inside, the report is printed and the audio is written."""
    try:
        yield
    except BaseException:  # noqa: BLE001 - whatever it was, the report tells
        dialogue.report.exception = traceback.format_exc()
    output.mkdir(parents=True, exist_ok=True)
    for index, answer in enumerate(dialogue.spoken()):
        path = output / f"answer-{index}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", None))
            file.writeframes(bytes(answer.audio))
        dialogue.report.answers.append(
            {"text": answer.text, "status": answer.status, "reason": answer.reason, "audio_ms": answer.audio_ms}
            | {"file": str(path), "item_id": answer.item_id}
        )
    events = output / "events.jsonl"
    events.write_text("".join(f"{json.dumps(event, default=repr)}\n" for event in dialogue.events))
    dialogue.report.events = str(events)
    print(dialogue.report.as_json(), flush=True)
