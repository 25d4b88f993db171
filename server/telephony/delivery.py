"""A session's events on a telephone line: the agent's voice to the leg, everything else to whoever minds the call.

Owns which stretch of which turn the carrier is playing, so that what it reports as heard can be told to the session.
I/O-free; nothing is kept for replay: a call that is lost is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agents.events import AudioOut, AudioOutEnded, Interrupted, ServerEvent
from audio.formats import samples_to_ms
from server.sessions.media import VoiceSink
from server.sessions.replay import Frame

MAX_STRETCHES: Final = 1_024
"""A minute of audio that the carrier says nothing of; older stretches are taken for heard."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Audio of a turn from ``start_ms`` on, which lies at ``at_ms`` of what was played since the last clear."""

    turn_id: str
    start_ms: int
    at_ms: int
    end_ms: int


class PhoneDelivery:
    """``server.sessions.delivery.Delivery`` for telephone calls."""

    resumption = None
    frames_lost = 0

    def __init__(self, sink: VoiceSink, notice: Callable[[ServerEvent], None]) -> None:
        """``notice`` is told every event but the audio, after the leg was."""
        self._sink = sink
        self._notice = notice
        self._stretches: deque[_Stretch] = deque(maxlen=MAX_STRETCHES)
        self._played_samples = 0

    def frames(self, event: ServerEvent) -> list[Frame]:
        """Never any: a telephone takes no messages."""
        match event:
            case AudioOut():
                self._play(event)
                return []
            case AudioOutEnded():
                self._sink.finish()
            case Interrupted():
                self._sink.clear()
                self.cleared()
            case _:
                pass
        self._notice(event)
        return []

    def cleared(self) -> None:
        """The sink plays nothing of it any more, and counts anew."""
        self._stretches.clear()
        self._played_samples = 0

    def heard(self, heard_ms: int) -> tuple[str, int] | None:
        """The turn, and the ms of its audio, that ``heard_ms`` of what was played since the last clear come to."""
        while len(self._stretches) > 1 and self._stretches[0].end_ms < heard_ms:
            self._stretches.popleft()
        if not self._stretches:
            return None
        stretch = self._stretches[0]
        into_ms = min(max(0, heard_ms - stretch.at_ms), stretch.end_ms - stretch.at_ms)
        return stretch.turn_id, stretch.start_ms + into_ms

    def _play(self, event: AudioOut) -> None:
        rate_hz = event.sample_rate_hz
        at_ms = samples_to_ms(self._played_samples, rate_hz)
        self._played_samples += len(event.samples)
        end_ms = samples_to_ms(self._played_samples, rate_hz)
        self._stretches.append(_Stretch(event.turn_id, event.start_ms, at_ms, end_ms))
        self._sink.play(event.samples, rate_hz)
