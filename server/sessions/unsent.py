"""The agent's audio that was made while its client was away: what of it is sent after all is counted then. Pure.

Lengths are ticks (``agents.core.sound_meter``), each with the id of the last frame it went into. Owned by
``server.sessions.live``; bounded as the replay buffer is, whose oldest frames go first.
"""

from __future__ import annotations

from collections import deque
from typing import Final

MOST: Final = 4_096
"""More than a replay buffer holds of audio frames."""


class UnsentAudio:
    """See the module."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, int]] = deque(maxlen=MOST)

    def keep(self, event_id: int, length: int) -> None:
        """So much audio went into frames up to this one, which nobody was sent yet."""
        self._kept.append((event_id, length))

    def forget(self, event_id: int) -> None:
        """Frames before this one will never be sent."""
        while self._kept and self._kept[0][0] < event_id:
            self._kept.popleft()

    def take(self, event_id: int) -> int:
        """This frame is sent now: how much audio is with that."""
        length = 0
        while self._kept and self._kept[0][0] <= event_id:
            length += self._kept.popleft()[1]
        return length
