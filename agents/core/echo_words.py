"""Whether a transcript is the agent's own words coming back. Pure; driven by ``agents.core.echo_guard``."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Final

MIN_WORDS: Final = 3
"""A word or two of the agent's are as likely somebody's answer: "tea or coffee?" - "coffee"."""
MIN_SHARE: Final = 0.75
"""A room and a loudspeaker cost the recogniser a word here and there."""
_SAID_LATELY: Final = 80
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+(?:['’][^\W_{_UNSPACED}]+)*")


def repeats(transcript: str, said: str, min_words: int = MIN_WORDS) -> bool:
    """Whether ``transcript``, of at least ``min_words``, says what was ``said`` last, in its order; languages without
    spaces count characters."""
    heard, spoken = _words(transcript), _words(said)[-_SAID_LATELY:]
    if len(heard) < min_words or not spoken:
        return False
    blocks = SequenceMatcher(None, spoken, heard, autojunk=False).get_matching_blocks()
    longest = max(block.size for block in blocks)
    return longest >= min(2, len(heard)) and sum(block.size for block in blocks) >= MIN_SHARE * len(heard)


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]
