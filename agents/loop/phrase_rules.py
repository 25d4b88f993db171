"""What a text splitter knows of written language, as data: borders, brackets, and points that end no sentence.

Pure values, read by ``agents.loop.phrases``. Word lists hold lower-case words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SENTENCE_ENDS: Final = frozenset(".!?…。！？।؟۔")
CLAUSE_ENDS: Final = frozenset(",;:،؛，；：、–—")
WIDE_ENDS: Final = frozenset("。！？；，、：…—")
"""Borders that need no space after them."""
CLOSERS: Final = frozenset("\"')]}”’»›」』）】*_~`")
GLUED: Final = SENTENCE_ENDS | CLAUSE_ENDS | frozenset(")]}”’»›」』）】%")
"""What never begins a phrase: it belongs to what stands before it (``« Bonjour ! »``)."""
PAIRS: Final = {
    "(": ")",
    "[": "]",
    "{": "}",
    "“": "”",
    "«": "»",
    "「": "」",
    "『": "』",
    "（": "）",
    "【": "】",
}

TITLES: Final = frozenset(
    "mr mrs ms dr prof rev hon st sr sra jr mt ft gen col sgt capt lt cmdr gov sen rep pres messrs mme mlle mgr dott "
    "dña hr fr frl herr ing".split()
)
"""Stand before a name: their point never ends a sentence."""
ABBREVIATIONS: Final = frozenset(
    "eg ie cf viz vs approx ca al ed eds vol vols pp fig figs eq sec dept est tel ext inc ltd co corp bros assn univ "
    "ave blvd rd jan feb apr jun jul aug sept sep oct nov dec tue tues wed thu thur thurs fri bzw bspw ggf evtl inkl "
    "vgl abs nr núm".split()
)
NUMBERED: Final = frozenset("no nos nr núm vol p pp fig art sec ch chap eq ex".split())
"""Abbreviate only before a number: "No. 5", but "No. I will not."."""
CLOSING: Final = frozenset("a.m p.m etc u.s u.k usw".split())
"""Abbreviations that may also end a sentence: they do where the next word begins with a capital."""
ORDINAL_POINT_LANGUAGES: Final = frozenset("de da nb nn no fi cs sk pl hu hr sl sr et lv tr is".split())
"""Write "3." for "third"."""
CLINGING: Final = frozenset(
    "a an the of to in on at for from with by and or but if as than that which who my your his her its our their this "
    "these those is are was were be not no very i we they".split()
)
"""English words after which nobody breathes."""

LETTER_POINTS: Final = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}$")
"""Of a word less its last point: ``e.g``, ``U.S``, ``z.B``, ``Ph.D``."""
NUMBER_END: Final = re.compile(r"[\d][\d.,:/\-–]*$")
LIST_NUMBER: Final = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z])[.)]$")
OPENING_MARKUP: Final = re.compile(r"^[\"'(\[“‘«]*(\*{1,3}|_{1,3}|~~)(?=[^\s*_~])")
CLOSING_MARKUP: Final = re.compile(r"(?<=[^\s*_~])(\*{1,3}|_{1,3}|~~)[)\"'\].,;:!?…”’»]*$")
WIDE_SCRIPT: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class PhraseLimits:
    """When a phrase is long enough to be spoken.

    A sentence end counts from ``sentence_chars``, a clause border from ``clause_words`` or ``clause_chars``. From
    ``max_words`` on, any space does.
    """

    sentence_chars: int
    clause_words: int
    clause_chars: int
    max_words: int


LADDER: Final = (PhraseLimits(6, 3, 12, 9), PhraseLimits(10, 5, 28, 14), PhraseLimits(12, 9, 52, 24))
"""The first phrase is short, so that speech begins early; the second bridges while the third is written. The last
rung is for all others."""
