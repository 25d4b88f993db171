"""The last frames of a session, kept so that a client that lost its connection misses nothing.

Bounded in bytes; the oldest go first and are counted. Knows nothing of what the frames say.
"""

from __future__ import annotations

from collections import deque

Frame = str | bytes


class ReplayBuffer:
    """Frames by their event id, which rises by one with every frame."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._frames: deque[tuple[int, Frame]] = deque()
        self._bytes = 0
        self._last_id = 0
        self.dropped = 0

    @property
    def last_id(self) -> int:
        """The id of the newest frame ever appended; 0 before the first."""
        return self._last_id

    def append(self, event_id: int, frame: Frame) -> None:
        """Keep a frame; the oldest make room."""
        self._last_id = event_id
        self._frames.append((event_id, frame))
        self._bytes += len(frame)
        while self._bytes > self._max_bytes:
            _, oldest = self._frames.popleft()
            self._bytes -= len(oldest)
            self.dropped += 1

    def missed(self, last_event_id: int) -> int:
        """How many frames after ``last_event_id`` are gone for good."""
        oldest = self._frames[0][0] if self._frames else self._last_id + 1
        return max(0, oldest - last_event_id - 1)

    def after(self, event_id: int) -> list[tuple[int, Frame]]:
        """The kept frames whose id is greater than ``event_id``, oldest first."""
        newer: list[tuple[int, Frame]] = []
        for entry in reversed(self._frames):
            if entry[0] <= event_id:
                break
            newer.append(entry)
        newer.reverse()
        return newer
