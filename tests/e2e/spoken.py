"""Human speech for tests, in every wire format, and the comparison of what was said with what was understood."""

from __future__ import annotations

import csv
import re
import wave
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from agents.loop.speakable import speakable
from audio.codecs.factory import make_decoder, make_encoder
from audio.formats import HEARING_RATE_HZ, AudioFormat, Samples

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
CHUNK_MS = 100
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()


def clip(name: str) -> Samples:
    """A recording: 16 kHz mono."""
    with wave.open(str(SPEECH / f"{name}.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (HEARING_RATE_HZ, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


def transcript(name: str) -> str:
    """What is said in a recording."""
    with (SPEECH / "manifest.tsv").open() as file:
        rows = {row["file"]: row["transcript"] for row in csv.DictReader(file, delimiter="\t")}
    return rows[f"{name}.wav"]


def quiet(seconds: float, level: float = 10.0) -> Samples:
    """A room without speech: white noise of ``level`` (standard deviation, of 32768), the same every time."""
    noise = np.random.default_rng(1).normal(0.0, level, round(seconds * HEARING_RATE_HZ))
    return np.clip(np.rint(noise), -32_768, 32_767).astype(np.int16)


def said(name: str, silence_s: float = 2.0) -> Samples:
    """A recording in a quiet room: a moment before it, and the silence after it that ends a turn."""
    return np.concatenate([quiet(0.3), clip(name), quiet(silence_s)])


def encoded(samples: Samples, wire: AudioFormat, chunk_ms: int = CHUNK_MS) -> Iterator[bytes]:
    """16 kHz samples as payloads of a wire format, a chunk at a time."""
    encoder = make_encoder(wire, HEARING_RATE_HZ)
    step = HEARING_RATE_HZ * chunk_ms // 1_000
    for at in range(0, len(samples), step):
        yield from encoder.encode(samples[at : at + step])
    yield from encoder.flush()


def decoded(payloads: Iterable[bytes], wire: AudioFormat) -> Samples:
    """Payloads of a wire format as 16 kHz samples."""
    decoder = make_decoder(wire, HEARING_RATE_HZ)
    return np.concatenate([np.empty(0, np.int16), *(decoder.decode(payload) for payload in payloads)])


def words(text: str) -> list[str]:
    """The words of a text as they are spoken: lower case, numbers in words."""
    found = re.findall(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)?", speakable(text).lower().replace("’", "'"))
    return [word for part in found for word in (_number(int(part)) if part.isdigit() else [part])]


def match(expected: str, understood: str) -> float:
    """The share of the expected words that were understood, in order; 1 where nothing was expected."""
    wanted = words(expected)
    blocks = SequenceMatcher(None, wanted, words(understood), autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(wanted) if wanted else 1.0


def word_error_rate(expected: str, understood: str) -> float:
    """Words to replace, leave out and put in, to make what was expected of what was understood; by words expected."""
    wanted, got = words(expected), words(understood)
    row = list(range(len(got) + 1))
    for at, word in enumerate(wanted, start=1):
        before, row[0] = row[0], at
        for to, other in enumerate(got, start=1):
            before, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, before + (word != other))
    return row[-1] / len(wanted)


def _number(value: int) -> list[str]:
    if value >= 1_000:
        head, rest = divmod(value, 1_000)
        return [*_number(head), "thousand", *(_number(rest) if rest else [])]
    if value >= 100:
        head, rest = divmod(value, 100)
        return [_SMALL[head], "hundred", *(_number(rest) if rest else [])]
    if value >= 20:
        tens, rest = divmod(value, 10)
        return [_TENS[tens], *([_SMALL[rest]] if rest else [])]
    return [_SMALL[value]]
