"""When a turn ends and when a sound is an interruption: policy as data, and the pure functions that read it.

Knows text and numbers only. Driven by ``agents.core.machine``. Language-specific word lists live in
``agents.core.language``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from agents.core.language import LanguageRules

Eagerness = Literal["low", "auto", "high"]


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """How turns are taken in a session. All times in ms; changeable mid-session.

    End of turn, counted from the last speech sample: ``min_wait_ms`` after speech that sounds and reads complete,
    ``wait_ms`` where nothing speaks for or against, ``max_wait_ms`` after speech that is plainly unfinished.
    ``auto_end`` false means only the client ends a turn (push-to-talk).

    Overlap, counted from the sound's onset: ``interrupt_after_ms`` of speech hold the agent's voice,
    ``confirm_after_ms`` make it an interruption without waiting for words; after a shorter sound the transcript
    decides within ``verdict_ms``, else the agent goes on. Words recognised with less than ``sure_confidence`` decide
    nothing, unless they are among the language's ``interrupters``. For up to ``finish_clause_ms`` the agent finishes
    its clause before it stops. Where it is not ``interruptible``, what is said meanwhile is dropped, unless
    ``keep_overlap``: then it is the next turn.

    ``transcript_limit_ms`` bounds the wait for a final transcript; one that comes later still corrects what was said,
    up to ``correction_ms`` after the last speech. ``filler_after_ms`` (``None`` for never) the
    agent's silence while it thinks. ``speculate`` lets a draft be made before the turn is certain. ``auto_reply``
    false means the agent answers only when the client asks for it. After ``idle_ms`` (``None`` for never) in which
    nobody says anything, the agent speaks up.
    """

    auto_end: bool = True
    min_wait_ms: int = 380
    wait_ms: int = 560
    max_wait_ms: int = 1_200
    eagerness: Eagerness = "auto"
    speculate: bool = True
    interruptible: bool = True
    keep_overlap: bool = False
    interrupt_after_ms: int = 140
    finish_clause_ms: int = 0
    confirm_after_ms: int = 800
    verdict_ms: int = 520
    sure_confidence: float = 0.45
    transcript_limit_ms: int = 2_000
    correction_ms: int = 6_000
    filler_after_ms: int | None = None
    auto_reply: bool = True
    idle_ms: int | None = None
    rules: LanguageRules = field(default_factory=LanguageRules)

    def __post_init__(self) -> None:
        if not 0 <= self.min_wait_ms <= self.wait_ms <= self.max_wait_ms:
            raise ValueError("turn waits must satisfy 0 <= min_wait_ms <= wait_ms <= max_wait_ms")
        if not 0 <= self.interrupt_after_ms <= self.confirm_after_ms:
            raise ValueError("overlap times must satisfy 0 <= interrupt_after_ms <= confirm_after_ms")


_SURE, _DOUBTFUL = 0.8, 0.25
_EAGERNESS = {"low": 1.5, "auto": 1.0, "high": 0.75}
_WORD = re.compile(r"[\w'’-]+")
_TERMINAL = (".", "?", "!", "。", "？", "！", "…")


def words_of(text: str) -> list[str]:
    """The words of a text, lower-case, without punctuation."""
    return [word.lower() for word in _WORD.findall(text)]


def reads_unfinished(text: str, rules: LanguageRules) -> bool:
    """Whether the text stops where nobody would: on a comma, a dash, an ellipsis, or a word that wants another."""
    stripped = text.rstrip()
    if stripped.endswith((",", "-", "—", "...", "…", ":", ";")):
        return True
    words = words_of(stripped)
    return bool(words) and words[-1] in rules.unfinished_endings and not stripped.endswith(("?", "!"))


def reads_enumerating(text: str, rules: LanguageRules) -> bool:
    """Whether the text ends in what people say with pauses: digits, spelled letters, an address."""
    tail = words_of(text)[-2:]
    return bool(tail) and all(word.isdigit() or len(word) == 1 or word in rules.enumerating_words for word in tail)


def endpoint_wait_ms(text: str | None, hint: float | None, policy: TurnPolicy) -> int:
    """How long after the last speech sample the turn is certain, given what is known by now.

    ``text`` is this pause's transcript (``None`` while unknown), ``hint`` the end-of-turn model's probability. The
    text counts for more: the model alone neither ends a turn early nor holds it open to the ceiling.
    """
    low, middle, high = policy.min_wait_ms, policy.wait_ms, policy.max_wait_ms
    if text is None:
        wait = middle
    elif reads_unfinished(text, policy.rules):
        wait = high if hint is None or hint < _SURE else middle
    elif reads_enumerating(text, policy.rules):
        wait = (middle + high) // 2
    elif text.rstrip().endswith(_TERMINAL):
        wait = middle if hint is not None and hint < _DOUBTFUL else low
    else:
        wait = low if hint is not None and hint >= _SURE else middle
    return min(high, max(low, round(wait * _EAGERNESS[policy.eagerness])))


def is_backchannel(text: str, rules: LanguageRules) -> bool:
    """Whether the words only say "I am listening" (or nothing at all)."""
    words = words_of(text)
    return len(words) <= rules.backchannel_max_words and all(word in rules.backchannels for word in words)
