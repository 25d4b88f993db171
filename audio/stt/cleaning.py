"""Removes what Whisper writes when nobody said it: annotations, music notes, loops, stock phrases over noise.

Pure text; driven by ``audio.stt.whisper_model`` on every decode. Source for the thresholds: Radford et al.,
"Robust Speech Recognition via Large-Scale Weak Supervision" (2022), section 4.5, and measurements on noise.
"""

from __future__ import annotations

import re
from typing import Final

_ANNOTATION: Final = re.compile(r"\[[^\]]*(?:\]|$)|\([^)]*(?:\)|$)|\*[^*]+\*|[♪♫][^♪♫]*[♪♫]|[♪♫]+|<\|[^|]*\|>")
_SPACES: Final = re.compile(r"\s+")
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LONGEST_LOOP_WORDS: Final = 12
_SINGLE_WORD_REPEATS: Final = 6
_PHRASE_REPEATS: Final = 4
_REPEATS_AT_LIMIT: Final = 2

_NO_SPEECH_PROBABILITY: Final = 0.6
_NO_SPEECH_LOG_PROBABILITY: Final = -0.7
"""Higher than the -1.0 of the paper: silence gave -0.96 at a no-speech probability of 0.99, real speech at 0 dB SNR
-0.1 to -1.4 at 0.56 or less."""


def is_no_speech(no_speech_probability: float, mean_log_probability: float, *, endless: bool = False) -> bool:
    """Whisper's own rule: the no-speech token is likely, and the text written all the same is not (or is a loop)."""
    doubtful = endless or mean_log_probability < _NO_SPEECH_LOG_PROBABILITY
    return doubtful and no_speech_probability > _NO_SPEECH_PROBABILITY


def clean(text: str, *, endless: bool = False) -> str:
    """The text without artefacts, single-spaced; empty where no word remains.

    ``endless`` says that decoding had to be stopped, as in a loop: then two copies of a phrase at the
    end are suspicious; otherwise it takes four (six of a single word: people do say "no, no, no").
    """
    spoken = _SPACES.sub(" ", _ANNOTATION.sub(" ", text)).strip()
    if not _WORD.search(spoken):
        return ""
    return _without_loop(spoken, endless=endless)


def _without_loop(text: str, *, endless: bool) -> str:
    tokens = text.split(" ")
    words = [" ".join(_WORD.findall(token)).casefold() for token in tokens]
    for size in range(1, _LONGEST_LOOP_WORDS + 1):
        start, copies = _loop(words, size, partial_copy=endless)
        enough = _REPEATS_AT_LIMIT if endless and size > 1 else _PHRASE_REPEATS
        if copies >= (enough if size > 1 else _SINGLE_WORD_REPEATS):
            return " ".join(tokens[: start + size])
    return text


def _loop(words: list[str], size: int, *, partial_copy: bool) -> tuple[int, int]:
    """Where a run of equal phrases of ``size`` words that reaches the end begins, and how many there are.

    With ``partial_copy`` the last copy may be cut short.
    """
    same = 0
    while same + size < len(words) and words[-1 - same] == words[-1 - same - size]:
        same += 1
    whole, rest = divmod(same, size)
    start = len(words) - same - size
    if not partial_copy:
        start += rest
    return start, whole + 1
