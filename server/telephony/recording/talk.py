"""What is said about recording a call before anything of it is recorded, and what counts as a consent. Pure.

``announce``: the notice was heard to its end and the caller stayed. ``ask``: the question was heard to its end, and
then came a yes, spoken or as the key 1; anything else, and silence, is a no. Words that were interrupted are said
again, at most twice. While it is not ``over`` the agent neither greets nor asks whether anybody is there. Times are ms
of any one clock. Driven by ``server.telephony.recording.call``.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from agents.events import TurnCompleted, TurnStarted
from server.telephony.phrases import Phrases

Agreed = Literal["announced", "voice", "key"]
Step = Literal["waiting", "saying", "listening", "telling", "over"]

TRIES: Final = 3
UNSAID_MS: Final = 3_000
"""How long words may take to begin: who speaks just then keeps them from being said."""
ANSWER_MS: Final = 8_000
"""How long an answer is waited for while nobody speaks."""
LIMIT_MS: Final = 90_000
"""How long all of it may take."""
MOST_WORDS: Final = 8
"""What is longer is no answer to the question, whatever is in it."""
YES_KEY: Final = "1"
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


class RecordingTalk:
    """One call's."""

    def __init__(self, phrases: Phrases, *, asks: bool, after_ms: int, now_ms: int) -> None:
        """``asks``: a question, else a notice; ``after_ms`` from now at the earliest."""
        self.wording = phrases.recording_question if asks else phrases.recording_notice
        self.agreed: Agreed | None = None
        self._phrases = phrases
        self._asks = asks
        self._first_ms = now_ms + after_ms
        self._end_ms = self._first_ms + LIMIT_MS
        self._step: Step = "waiting"
        self._since_ms = now_ms
        self._tries = 0
        self._turn_id: str | None = None
        self._heard = False

    @property
    def over(self) -> bool:
        """Whether everything has been said."""
        return self._step == "over"

    @property
    def answering(self) -> bool:
        """Whether what the caller says now is the answer."""
        return self._step == "listening"

    @property
    def asking(self) -> bool:
        """Whether the words are being said, or an answer to them is waited for."""
        return self._step in {"saying", "listening"}

    def due(self, now_ms: int, *, quiet: bool) -> str | None:
        """What is to be said now."""
        if now_ms > self._end_ms:
            self._step = "over"
        since_ms = now_ms - self._since_ms
        if self._step == "saying" and self._turn_id is None and since_ms > UNSAID_MS:
            self._again()
        if self._step == "listening" and quiet and since_ms > ANSWER_MS:
            self._settle(None)
        if self._step == "waiting" and quiet and now_ms >= self._first_ms:
            self._step, self._since_ms, self._turn_id = "saying", now_ms, None
            self._tries += 1
            return self.wording
        if self._step == "telling" and quiet:
            self._step = "over"
            return self._phrases.recording_off if self.agreed is None else self._phrases.recording_on
        return None

    def turn_started(self, event: TurnStarted) -> bool:
        """A turn begins; True where it is the caller's answer to the question, which is nobody else's to answer."""
        if event.source == "announcement":
            if self._step == "saying" and self._turn_id is None and event.text == self.wording:
                self._turn_id = event.turn_id
            return False
        if not self._asks or not self._tries or self._step in {"telling", "over"}:
            return False
        answer = self._answer(event.text)
        if answer == "no":
            self._settle(None)
        elif self._step == "listening":
            if answer is None:
                self._step = "over"  # they speak of something else: unrecorded, and answered
                return False
            self._settle("voice")
        return answer is not None

    def turn_completed(self, event: TurnCompleted, now_ms: int) -> None:
        """A turn is over, heard or interrupted."""
        if self._step != "saying" or event.turn_id != self._turn_id:
            return
        if event.interrupted:
            self._again()
        elif self._asks:
            self._step, self._since_ms = "listening", now_ms
        else:
            self.agreed, self._step = "announced", "over"

    def key(self, digit: str) -> bool:
        """A key was pressed; True where it is about the question, and so no entry.

        Whoever presses before the question was heard to its end has not agreed, but may have refused.
        """
        asking = self._asks and self._step == "saying"
        if self._step == "listening":
            self._settle("key" if digit == YES_KEY else None)
        elif asking and digit != YES_KEY:
            self._settle(None)
        else:
            return asking
        return True

    def _again(self) -> None:
        self._step = "waiting" if self._tries < TRIES else "over"

    def _settle(self, agreed: Agreed | None) -> None:
        self.agreed, self._step = agreed, "telling"

    def _answer(self, text: str) -> Literal["yes", "no"] | None:
        words = _WORD.findall(text.casefold().replace("’", "'"))
        if not words or len(words) > MOST_WORDS:
            return None
        if any(word in self._phrases.recording_no for word in words):
            return "no"
        return "yes" if any(word in self._phrases.recording_yes for word in words) else None
