"""What is said to whoever takes a transferred call, until the carrier fetches it: once, by a name nobody can guess.

Bounded in number and time. Pure but for its clock.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

LIFETIME_S: Final = 300.0
MOST: Final = 1_000


class Whispers:
    """Of one server."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._kept: OrderedDict[str, tuple[float, str, str]] = OrderedDict()

    def keep(self, text: str, locale: str) -> str:
        """Keep a text for one who presents the token that is returned."""
        token = secrets.token_urlsafe(24)
        self._kept[token] = (self._monotonic_s() + LIFETIME_S, text, locale)
        if len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return token

    def take(self, token: str) -> tuple[str, str] | None:
        """The text and its language; ``None`` where there is none, or no more."""
        until_s, text, locale = self._kept.pop(token, (0.0, "", ""))
        return (text, locale) if until_s > self._monotonic_s() else None
