"""Telephone manners: when the agent speaks up by itself on a call, and when the call is over. Pure.

Told who speaks, asked what is due; times are milliseconds of any one clock. What is said is in
``server.telephony.phrases``. Driven by ``server.telephony.conversation``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Due = Literal["greet", "ask", "silence_goodbye", "warn", "limit_goodbye", "limit"]
"""Greet; ask whether anybody is there; say goodbye because nobody is; warn that the call must end soon; say goodbye
because it has lasted as long as it may; end it, said or not."""

LAST_WORDS_MS = 10_000
"""What a goodbye at the limit gets before the call is ended anyway."""


@dataclass(frozen=True, slots=True)
class MannersOptions:
    """Times in ms. A silence of ``silence_ms`` is asked about ``silence_prompts`` times, then the call ends."""

    greet_after_ms: int = 500
    silence_ms: int = 8_000
    silence_prompts: int = 2
    max_call_ms: int = 30 * 60_000
    warn_before_ms: int = 60_000


class Manners:
    """One call's."""

    def __init__(self, options: MannersOptions, now_ms: int) -> None:
        """The call was answered at ``now_ms``."""
        self._options = options
        self._answered_ms = now_ms
        self._quiet_since_ms = now_ms
        self._asked = 0
        self._greeted = self._warned = self._left = False
        self._turns: set[str] = set()
        self._user_speaks = False
        self._held = False

    # --- who speaks ---

    def user_speaks(self, on: bool, now_ms: int) -> None:
        """Somebody begins or stops to be heard; whether it is meant for us shows later."""
        self._user_speaks = on
        self._quiet_since_ms = now_ms

    def answered(self, now_ms: int) -> None:
        """The user said something, or pressed a key: they are there."""
        self._asked = 0
        self._greeted = True
        self._quiet_since_ms = now_ms

    def turn(self, turn_id: str, begun: bool, now_ms: int) -> None:
        """A turn of the agent's begins or is over."""
        (self._turns.add if begun else self._turns.discard)(turn_id)
        self._quiet_since_ms = now_ms

    def held(self, on: bool, now_ms: int) -> None:
        """On hold nobody is expected to speak."""
        self._held = on
        self._quiet_since_ms = now_ms

    # --- what is due ---

    def due(self, now_ms: int) -> Due | None:
        """What is to be done now; each is told once."""
        return self._by_length(now_ms - self._answered_ms) or self._by_silence(now_ms)

    def overdue(self, now_ms: int) -> bool:
        """Whether the call has lasted as long as it may."""
        return now_ms - self._answered_ms >= self._options.max_call_ms

    def _by_length(self, call_ms: int) -> Due | None:
        left_ms = self._options.max_call_ms - call_ms
        if left_ms <= -LAST_WORDS_MS:
            return "limit"
        if left_ms <= 0 and not self._left and self.quiet:
            self._left = True
            return "limit_goodbye"
        if left_ms <= self._options.warn_before_ms and not self._warned and not self._left and self.quiet:
            self._warned = True
            return "warn" if left_ms > LAST_WORDS_MS else None
        return None

    def _by_silence(self, now_ms: int) -> Due | None:
        if self._left or not self.quiet:
            return None
        if not self._greeted:
            if now_ms - self._answered_ms < self._options.greet_after_ms:
                return None
            self._greeted, self._quiet_since_ms = True, now_ms
            return "greet"
        if now_ms - self._quiet_since_ms < self._options.silence_ms:
            return None
        self._quiet_since_ms = now_ms
        self._asked += 1
        return "ask" if self._asked <= self._options.silence_prompts else "silence_goodbye"

    @property
    def prompts_asked(self) -> int:
        """How often in a row it was asked whether anybody is there."""
        return self._asked

    @property
    def quiet(self) -> bool:
        """Whether nobody speaks, and somebody may be spoken to."""
        return not self._turns and not self._user_speaks and not self._held
