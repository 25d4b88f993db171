"""The names of a conversation's entries: made from what is known on both sides, so that nobody has to be told.

Pure. The session files its history under them; a wire codec that speaks of items computes the same.
"""

from __future__ import annotations


def spoken_item_id(session_id: str, utterance: int) -> str:
    """What the user said in an utterance."""
    return f"item_u{_unique(session_id)[:18]}{utterance:06d}"


def typed_item_id(turn_id: str) -> str:
    """What the user wrote to begin a turn."""
    return f"item_q{_unique(turn_id)[:24]}"


def reply_item_id(turn_id: str) -> str:
    """What the agent said in a turn."""
    return f"item_a{_unique(turn_id)[:24]}"


def call_item_id(turn_id: str, number: int) -> str:
    """The ``number``-th tool of the client's that a turn asked for."""
    return f"item_f{_unique(turn_id)[:22]}{number:02d}"


def _unique(identifier: str) -> str:
    return identifier.rpartition("_")[2]
