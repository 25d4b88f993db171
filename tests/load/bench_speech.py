"""The recorded human speech benchmarks speak: 16 kHz mono int16, from ``tests/fixtures/speech``."""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import numpy as np

SPEECH = Path(__file__).parent.parent / "fixtures" / "speech"


def clip(name: str) -> np.ndarray:
    """One clip's samples."""
    with wave.open(str(SPEECH / f"{name}.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


def clips() -> dict[str, str]:
    """Every clip's name and what is said in it."""
    with (SPEECH / "manifest.tsv").open() as file:
        return {row["file"].removesuffix(".wav"): row["transcript"] for row in csv.DictReader(file, delimiter="\t")}
