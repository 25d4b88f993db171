"""What sound went into a session and out of it, and is in no account yet: to the sample, whatever its rate.

Counts in ticks of 1/48,000 s, of which every rate's sample is a whole number; milliseconds are those that became whole,
and the rest stays for the next account, so that neither is lost however often accounts are taken. Owned by the session;
hearing tells it of speech, whoever carries the audio of what came and what left; a telephone call is asked at the end
how long it took. Knows no turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Final

from audio.formats import HEARING_RATE_HZ

TICKS_PER_S: Final = 48_000
_TICKS_PER_MS: Final = TICKS_PER_S // 1_000
_HEARING_TICKS: Final = TICKS_PER_S // HEARING_RATE_HZ


def ticks(samples: int, rate_hz: int) -> int:
    """So many samples in ticks. Raises ValueError for a rate of which no tick is a part."""
    if TICKS_PER_S % rate_hz:
        raise ValueError(f"{rate_hz} Hz cannot be counted in ticks of 1/{TICKS_PER_S} s")
    return samples * (TICKS_PER_S // rate_hz)


@dataclass(frozen=True, slots=True)
class Sound:
    """What was counted since the account before: whole milliseconds, and the same in ticks."""

    received_ms: int = 0
    speech_ms: int = 0
    sent_ms: int = 0
    call_ms: int = 0
    received_ticks: int = 0
    sent_ticks: int = 0

    def plus(self, more: Sound) -> Sound:
        """Both together."""
        return Sound(*(mine + other for mine, other in zip(astuple(self), astuple(more), strict=True)))


class SoundMeter:
    """See the module. Nothing here waits, and every call may come at any time."""

    def __init__(self) -> None:
        self._received = self._sent = 0
        self._rests = [0, 0, 0]
        self._speech = 0
        self._speech_from: int | None = None
        self._silent_until = 0
        self._call_ms = 0
        self._elapsed_ms: Callable[[], int] | None = None
        self._closed = False

    def received(self, count: int) -> None:
        """So many ticks of audio came from the client."""
        self._received += 0 if self._closed else count

    def sent(self, count: int) -> None:
        """So many ticks of audio left for the client."""
        self._sent += 0 if self._closed else count

    def calls(self, elapsed_ms: Callable[[], int]) -> None:
        """The session is held over a telephone call: ``elapsed_ms`` says how long it has lasted, and is asked once."""
        self._elapsed_ms = elapsed_ms

    def speech_began(self, sample: int) -> None:
        """Voice activity from this sample heard on; no sample counts twice, whatever a detector says after a reset."""
        if self._speech_from is None:
            self._speech_from = max(sample, self._silent_until)

    def speech_ended(self, sample: int) -> None:
        """And up to this one."""
        self._silent_until = max(sample, self._silent_until)
        if self._speech_from is not None:
            self._speech += max(0, sample - self._speech_from) * _HEARING_TICKS
            self._speech_from = None

    def close(self) -> None:
        """The session is over, and its last account is taken now; what still comes is nobody's."""
        if not self._closed and self._elapsed_ms is not None:
            self._call_ms = self._elapsed_ms()
        self._closed = True

    def take(self) -> Sound:
        """All that was counted since this was last asked; speech that goes on is counted when it has ended."""
        received, self._received = self._received, 0
        sent, self._sent = self._sent, 0
        speech, self._speech = self._speech, 0
        call_ms, self._call_ms = self._call_ms, 0
        received_ms, speech_ms, sent_ms = map(self._whole, range(3), (received, speech, sent))
        return Sound(received_ms, speech_ms, sent_ms, call_ms, received, sent)

    def _whole(self, place: int, count: int) -> int:
        ms, self._rests[place] = divmod(self._rests[place] + count, _TICKS_PER_MS)
        return ms
