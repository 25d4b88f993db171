"""Keys a caller presses, gathered into entries the agent is told of. Pure; times are ms of any one clock.

An entry is complete at its terminator, at its length, or after a pause. Driven by ``server.telephony.conversation``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

KEYS: Final = frozenset("0123456789*#ABCD")
MAX_DIGITS: Final = 32
PAUSE_MS: Final = 2_500
"""How long after a key nobody waits for another."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the agent asked the caller to enter. ``meanings`` name the choices of a menu."""

    max_digits: int = MAX_DIGITS
    terminator: str = "#"
    pause_ms: int = PAUSE_MS
    meanings: Mapping[str, str] = field(default_factory=dict[str, str])


class Keypad:
    """One call's keys."""

    def __init__(self) -> None:
        self._expected = Expected()
        self._pressed = ""
        self._last_ms = 0

    def expect(self, expected: Expected) -> None:
        """The next entry is asked for; what was pressed before it was, counts."""
        self._expected = expected

    def press(self, digit: str, now_ms: int) -> str | None:
        """A key. Returns what the agent is told where that completes an entry; what is no key is ignored."""
        if digit not in KEYS:
            return None
        self._last_ms = now_ms
        if digit == self._expected.terminator and self._pressed:
            return self._complete()
        self._pressed += digit
        return self._complete() if len(self._pressed) >= self._expected.max_digits else None

    def due(self, now_ms: int) -> str | None:
        """What the agent is told where the caller has stopped pressing keys."""
        if self._pressed and now_ms - self._last_ms >= self._expected.pause_ms:
            return self._complete()
        return None

    def _complete(self) -> str:
        pressed, meanings = self._pressed, self._expected.meanings
        self._pressed, self._expected = "", Expected()
        meaning = meanings.get(pressed)
        if meaning is not None:
            return f"[The caller pressed {pressed} on the keypad: {meaning}]"
        said = " ".join(pressed)
        if meanings:
            return f"[The caller pressed {said} on the keypad, which is none of the choices]"
        return f"[The caller entered {said} on the keypad]"
