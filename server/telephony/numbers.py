"""Telephone numbers as personal data: what a log may say of them. Pure."""

from __future__ import annotations

from typing import Final

SHOWN: Final = 2


def masked(number: str) -> str:
    """A number of which nobody is known: its last two digits. Nothing of a name, nothing of what was withheld."""
    digits = [char for char in number.partition("@")[0] if char.isdigit()]
    return "" if not number else f"…{''.join(digits[-SHOWN:])}" if len(digits) > 2 * SHOWN else "…"
