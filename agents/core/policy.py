"""When a turn ends and when a sound is an interruption: policy as data, and the pure functions that read it.

Knows text and numbers only. Driven by ``agents.core.machine``. How words are read and signals weighed is in
``agents.core.endpoint_signals`` and ``agents.core.endpoint_wait``, a language's words in ``agents.core.language``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.core.endpoint_pauses import NO_HABIT, PauseHabit
from agents.core.endpoint_signals import read, words_of
from agents.core.endpoint_wait import Eagerness, Waits, evidence, wait_ms
from agents.core.language import Expected, LanguageRules, rules_for

__all__ = ["Eagerness", "TurnPolicy", "endpoint_wait_ms", "is_backchannel", "words_of"]


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """How turns are taken in a session. All times in ms; changeable mid-session.

    End of turn, counted from the last speech sample: ``min_wait_ms`` after speech that sounds and reads complete,
    ``wait_ms`` where nothing speaks for or against, ``max_wait_ms`` after speech that is plainly unfinished, and
    anything between by ``eagerness`` and the speaker's own pauses. ``expected`` is what the agent has just asked for:
    numbers, names and addresses come in pieces. ``auto_end`` false means only the client ends a turn (push-to-talk).

    Overlap, counted from the sound's onset: ``interrupt_after_ms`` of speech hold the agent's voice,
    ``confirm_after_ms`` make it an interruption without waiting for words; after a shorter sound the transcript decides
    within ``verdict_ms``, else the agent goes on. Who speaks at most ``take_back_ms`` after the reply began to sound
    goes on with what they were saying: the voice is held at once, and speech that lasts takes the turn back. Words
    recognised with less than ``sure_confidence`` decide nothing, unless they are among the language's ``interrupters``.
    For up to ``finish_clause_ms`` the agent finishes its clause before it stops. Where it is not ``interruptible``,
    what is said meanwhile is dropped, unless ``keep_overlap``: then it is the next turn.

    ``transcript_limit_ms`` bounds the wait for a final transcript, and ``transcript_by_ms`` (``None`` for never) bounds
    it from the last speech sample; one that comes later still corrects what was said, up to ``correction_ms`` after the
    last speech. ``partial_after_ms`` (``None`` for never) into that wait, words that are not final are answered.
    ``filler_after_ms`` (``None`` for never) bounds the agent's silence while it thinks, and ``filler_by_ms`` the
    silence since the last speech sample. ``speculate`` lets a draft be made before the turn is certain, from
    ``draft_lead_ms`` before silence says so: one that is ready sooner only waits, and costs tokens where the user goes
    on. The turn is then certain once there is something of it to be heard, or after ``max_wait_ms``, and until then the
    user may go on. ``auto_reply`` false means the agent answers only when the client asks for it. After ``idle_ms``
    (``None`` for never) in which nobody says anything, the agent speaks up.
    """

    auto_end: bool = True
    min_wait_ms: int = 210
    wait_ms: int = 700
    max_wait_ms: int = 1_200
    eagerness: Eagerness = "auto"
    expected: Expected | None = None
    speculate: bool = True
    draft_lead_ms: int = 600
    interruptible: bool = True
    keep_overlap: bool = False
    interrupt_after_ms: int = 140
    finish_clause_ms: int = 0
    confirm_after_ms: int = 800
    verdict_ms: int = 520
    take_back_ms: int = 200
    sure_confidence: float = 0.45
    transcript_limit_ms: int = 2_000
    transcript_by_ms: int | None = None
    partial_after_ms: int | None = None
    correction_ms: int = 6_000
    filler_after_ms: int | None = None
    filler_by_ms: int | None = None
    auto_reply: bool = True
    idle_ms: int | None = None
    rules: LanguageRules = field(default_factory=lambda: rules_for("en"))

    def __post_init__(self) -> None:
        if not 0 <= self.min_wait_ms <= self.wait_ms <= self.max_wait_ms:
            raise ValueError("turn waits must satisfy 0 <= min_wait_ms <= wait_ms <= max_wait_ms")
        if not 0 <= self.interrupt_after_ms <= self.confirm_after_ms:
            raise ValueError("overlap times must satisfy 0 <= interrupt_after_ms <= confirm_after_ms")


def endpoint_wait_ms(text: str | None, hint: float | None, policy: TurnPolicy, habit: PauseHabit = NO_HABIT) -> int:
    """How long after the last speech sample the turn is certain, given what is known by now.

    ``text`` is this pause's transcript (``None`` while unknown: then the voice may lengthen the wait, never shorten
    it), ``hint`` the end-of-turn model's probability, ``habit`` what is known of the speaker's pauses.
    """
    waits = Waits(policy.min_wait_ms, policy.wait_ms, policy.max_wait_ms)
    reading = None if text is None else read(text, policy.rules, policy.expected)
    odds = evidence(reading, hint)
    return wait_ms(odds if text is not None else min(0.0, odds), waits, policy.eagerness, habit.scale)


def is_backchannel(text: str, rules: LanguageRules) -> bool:
    """Whether the words only say "I am listening" (or nothing at all)."""
    words = words_of(text)
    return len(words) <= rules.backchannel_max_words and all(word in rules.backchannels for word in words)
