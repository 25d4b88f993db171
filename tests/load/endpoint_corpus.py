"""Human sentences with pauses in them: the recordings an end-of-turn policy is measured on.

Owns which recordings there are, where their words meet and how a pause is put between them; knows nothing of the
engines that are measured. Driven by ``bench_endpoint``. Beside the fixtures it uses, where they are installed, the
prompts that Allison Smith recorded for Asterisk (Debian: ``asterisk-core-sounds-en``, ``-en-g722``; CC-BY-SA-3.0) and
the recordings of ``pocketsphinx-testdata`` (BSD-2, LibriVox public domain); nothing of them is kept in the repository.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from bench_speech import clip, clips

from audio.features import LogMel, to_float
from audio.formats import HEARING_RATE_HZ, Samples
from audio.stt.whisper_model import packaged_model

MS: Final = HEARING_RATE_HZ // 1_000
LEAD_MS: Final = 400
TAIL_MS: Final = 4_000
PAUSES_MS: Final = (100, 800)
PAUSED_PER_RECORDING: Final = 3
_SPEECH_BELOW_LOUDEST_DB: Final = 25.0
_FADE_MS: Final = 8
_SNAP_MS: Final = 60
_GAP_BELOW_LOUDEST_DB: Final = 20.0
_ASTERISK: Final = "usr/share/asterisk/sounds/en_US_f_Allison"
_ASTERISK_TEXT: Final = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
_POCKETSPHINX: Final = "usr/share/pocketsphinx/test/data"


@dataclass(frozen=True, slots=True)
class Recording:
    """One sentence of one speaker, 16 kHz. ``held_out`` recordings never took part in choosing a number."""

    name: str
    speaker: str
    text: str
    samples: Samples = field(repr=False)
    held_out: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """A recording as a user would speak it: silence, the sentence with at most one pause more, silence."""

    recording: Recording
    name: str
    samples: Samples = field(repr=False)
    pause_ms: int
    end_ms: int
    """Where the last sample within 25 dB of the loudest 10 ms stands."""


def recordings(root: Path) -> list[Recording]:
    """All there are; ``root`` is where Debian's packages are unpacked (``/`` where they are installed)."""
    found = [Recording(name, _speaker(name), text, clip(name), True) for name, text in clips().items()]
    known = {recording.text for recording in found}
    found += [made for made in _pocketsphinx(root / _POCKETSPHINX) if made.text not in known]
    found += _asterisk(root)
    return [recording for recording in found if len(recording.samples) <= 12 * HEARING_RATE_HZ]


def _speaker(name: str) -> str:
    return name.split("_", maxsplit=1)[0].split(".", maxsplit=1)[0]


def _asterisk(root: Path) -> Iterator[Recording]:
    """Sentences of at least four words; half of them, by name, are held out."""
    if not (root / _ASTERISK_TEXT).is_file():
        return
    for line in gzip.decompress((root / _ASTERISK_TEXT).read_bytes()).decode().splitlines():
        name, _, text = line.partition(": ")
        text = text.strip()
        file = root / _ASTERISK / f"{name}.g722"
        if line.startswith(";") or not file.is_file() or not _is_one_sentence(text):
            continue
        yield Recording(f"asterisk/{name}", "allison", text, _g722(file), zlib.crc32(name.encode()) % 2 == 0)


def _is_one_sentence(text: str) -> bool:
    """Whole, and only one: not a piece of a sentence that the switchboard completes, no keys to press as symbols."""
    starts_whole = text[:1].isupper() or text.split(" ", 1)[0] in {"press", "please", "you", "the", "your", "there"}
    stops = list(re.finditer(r"[.!?;:](?=\s|$)", text))
    in_middle = [at for at in stops if at.end() < len(text)]
    ends_open = text.endswith((":", "...", " is", " with", " number", " currently", " at extension"))
    ends_open = ends_open or (text.startswith(("To ", "From ", "Followed ")) and "," not in text)
    several = len(re.findall(r"\b(?:press|dial)\b", text, re.IGNORECASE)) > 1
    odd = several or any(mark in text for mark in "[]#*()…") or "..." in text
    return starts_whole and not in_middle and not ends_open and not odd and len(text.split()) >= 4


def _g722(file: Path) -> Samples:
    import av  # noqa: PLC0415 - only for these recordings

    with av.open(str(file), format="g722") as container:
        pieces = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(pieces).astype(np.int16)


def _pocketsphinx(data: Path) -> Iterator[Recording]:
    for folder, listing in (("librivox", "transcription"), ("cards", "cards.transcription")):
        if not (data / folder / listing).is_file():
            continue
        for line in (data / folder / listing).read_text().splitlines():
            matched = re.fullmatch(r"<s>\s*(.*?)\s*</s>\s*\((.*)\)", line.strip())
            if matched is not None and (data / folder / f"{matched[2]}.wav").is_file():
                samples = _wav16(data / folder / f"{matched[2]}.wav")
                yield Recording(f"{folder}/{matched[2]}", folder, " ".join(matched[1].split()), samples, True)


def _wav16(file: Path) -> Samples:
    import wave  # noqa: PLC0415 - only for these recordings

    with wave.open(str(file)) as opened:
        assert (opened.getframerate(), opened.getnchannels(), opened.getsampwidth()) == (HEARING_RATE_HZ, 1, 2)
        return np.frombuffer(opened.readframes(opened.getnframes()), np.int16)


def turns(recording: Recording, gaps: list[int]) -> Iterator[Turn]:
    """The recording as it is, and with one pause at some of its gaps; the same ones in every run."""
    rng = np.random.default_rng(zlib.crc32(recording.name.encode()))
    yield _turn(recording, None, 0, rng)
    count = min(PAUSED_PER_RECORDING, len(gaps))
    chosen = sorted(rng.choice(len(gaps), count, replace=False)) if count else []
    low, high = PAUSES_MS
    for at in chosen:
        yield _turn(recording, gaps[at], int(rng.integers(low, high + 1)), rng)


def _turn(recording: Recording, gap: int | None, pause_ms: int, rng: np.random.Generator) -> Turn:
    speech = recording.samples
    floor = _floor_dbfs_rms(speech)
    if gap is not None:
        pause = _room(pause_ms, floor, rng)
        speech = np.concatenate([_faded(speech[:gap], end=True), pause, _faded(speech[gap:], end=False)])
    parts = [_room(LEAD_MS, floor, rng), speech, _room(TAIL_MS, floor, rng)]
    samples = np.concatenate(parts).astype(np.int16)
    end_ms = LEAD_MS + last_speech_ms(speech)
    return Turn(recording, f"{recording.name}+{pause_ms}@{gap}", samples, pause_ms, end_ms)


def last_speech_ms(samples: Samples) -> int:
    """Where the last 10 ms within 25 dB of the loudest end."""
    level = _levels(samples)
    return (int(np.nonzero(level > level.max() - _SPEECH_BELOW_LOUDEST_DB)[0][-1]) + 1) * 10


def _levels(samples: Samples) -> Any:
    frames = samples[: len(samples) // 160 * 160].astype(np.float64).reshape(-1, 160)
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-3)


def _floor_dbfs_rms(samples: Samples) -> float:
    """The room's own level, as an amplitude: the quietest twentieth of the recording."""
    return float(10 ** (np.quantile(_levels(samples), 0.05) / 20))


def _room(ms: int, rms: float, rng: np.random.Generator) -> Samples:
    return np.clip(rng.normal(0.0, min(rms, 100.0), ms * MS), -32_768, 32_767).astype(np.int16)


def _faded(samples: Samples, *, end: bool) -> Samples:
    ramp = np.linspace(1.0, 0.0, min(_FADE_MS * MS, len(samples)))
    faded = samples.astype(np.float64)
    if end:
        faded[len(faded) - len(ramp) :] *= ramp
    else:
        faded[: len(ramp)] *= ramp[::-1]
    return faded.astype(np.int16)


class WordGaps:
    """Where words meet: the recogniser's own alignment of the known text, moved to the quietest 10 ms nearby.

    Only where that is quiet indeed: a pause spliced into running voice would cut a word.
    """

    def __init__(self) -> None:
        import ctranslate2  # noqa: PLC0415 - slow to import
        import tokenizers  # noqa: PLC0415 - slow to import

        directory = packaged_model()
        self._ct2: Any = ctranslate2
        self._model = self._ct2.models.Whisper(str(directory), device="cpu", compute_type="int8", intra_threads=1)
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._log_mel = LogMel(self._model.n_mels)

    def find(self, recording: Recording) -> list[int]:
        """Their sample positions, at least 300 ms of speech before and behind them."""
        frames = max(1_000, len(recording.samples) // 160 + 100) // 2 * 2
        features = self._ct2.StorageView.from_array(self._log_mel(to_float(recording.samples), frames)[np.newaxis])
        text = self._tokenizer.encode(" " + recording.text, add_special_tokens=False)
        start = [self._tokenizer.token_to_id("<|startoftranscript|>"), self._tokenizer.token_to_id("<|notimestamps|>")]
        heard = min(frames, len(recording.samples) // 160 + 20) // 2 * 2
        (aligned,) = self._model.align(features, start, [text.ids], heard)
        first_frame: dict[int, int] = {}
        for token, frame in aligned.alignments:
            first_frame.setdefault(token, frame)
        starts = [at for at, token in enumerate(text.tokens) if token.startswith("Ġ") and at in first_frame]
        return self._quietest(recording.samples, [first_frame[at] * 20 for at in starts[1:]])

    @staticmethod
    def _quietest(samples: Samples, candidates_ms: list[int]) -> list[int]:
        level = _levels(samples)
        end_ms = last_speech_ms(samples)
        onset_ms = int(np.argmax(level > level.max() - _SPEECH_BELOW_LOUDEST_DB)) * 10
        found: list[int] = []
        for at_ms in candidates_ms:
            low, high = max(0, at_ms - _SNAP_MS) // 10, min(len(level), (at_ms + _SNAP_MS) // 10)
            if low >= high:
                continue
            place_ms = (low + int(np.argmin(level[low:high]))) * 10 + 5
            is_gap = level[place_ms // 10] < level.max() - _GAP_BELOW_LOUDEST_DB
            if is_gap and onset_ms + 300 <= place_ms <= end_ms - 300:
                found.append(place_ms * MS)
        return sorted(set(found))
