"""What a recognizer was given, in its own count and in the session's.

Silence between utterances is not sent, and silence of our own is (to have a phrase ended), so the service's offsets
are not the session's. Pure: positions in samples at 16 kHz.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_MOST_STRETCHES = 512


@dataclass(slots=True)
class _Stretch:
    sent: int
    session: int
    length: int
    moves: bool
    """Whether session time passes in it; not in silence of our own."""


class SentAudio:
    """The map from sent samples to session samples. Old stretches are forgotten."""

    def __init__(self) -> None:
        self._stretches: deque[_Stretch] = deque(maxlen=_MOST_STRETCHES)
        self.sent = 0
        self.speech_sent = 0

    def add(self, session_start: int, length: int) -> None:
        """Audio of the session was sent."""
        last = self._stretches[-1] if self._stretches else None
        if last is not None and last.moves and last.session + last.length == session_start:
            last.length += length
        else:
            self._stretches.append(_Stretch(self.sent, session_start, length, moves=True))
        self.sent += length
        self.speech_sent += length

    def add_silence(self, length: int) -> None:
        """Silence of our own was sent."""
        at = self.to_session(self.sent)
        self._stretches.append(_Stretch(self.sent, at, length, moves=False))
        self.sent += length

    def to_session(self, sent: int) -> int:
        """Where in the session a sent sample stands."""
        for stretch in reversed(self._stretches):
            if sent > stretch.sent or (sent == stretch.sent and sent == 0):
                return stretch.session + (min(sent - stretch.sent, stretch.length) if stretch.moves else 0)
        return self._stretches[0].session if self._stretches else 0

    def start_to_session(self, sent: int) -> int:
        """Like ``to_session`` for the beginning of something: at a border it belongs to what follows."""
        for stretch in reversed(self._stretches):
            if sent >= stretch.sent:
                return stretch.session + (min(sent - stretch.sent, stretch.length) if stretch.moves else 0)
        return self._stretches[0].session if self._stretches else 0
