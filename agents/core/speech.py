"""One turn's speech on its way out: audio not yet sent, audio sent but perhaps not heard, and the ledger of both.

A passive buffer in the session's output rate, owned by ``agents.core.writer``. It keeps what was sent until it has
been heard, so that a held reply can go on from the very sample the user heard last.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from audio.formats import Samples, ms_to_samples, samples_to_ms
from audio.playout import PlayoutLedger
from audio.stt.port import WordTiming
from audio.tts.port import Viseme

KEPT_AFTER_HEARD_MS: Final = 1_500
"""Longer than any word: a resumed reply begins with the word that was cut."""


class Speech:
    """The audio of one turn. Positions are samples from the start of the turn's audio."""

    def __init__(self, turn: int, turn_id: str, rate_hz: int, *, audible: bool, client_clears: bool = True) -> None:
        self._client_clears = client_clears
        self.turn = turn
        self.turn_id = turn_id
        self.rate_hz = rate_hz
        self.audible = audible
        self.held = False
        self.stop_at: int | None = None
        self.finished = False
        self.ended = False
        self.ledger = PlayoutLedger(rate_hz)
        self._chunks: deque[Samples] = deque()
        self._visemes: list[Viseme] = []
        self._visemes_told = 0
        self._kept_from = 0
        self._position = 0
        self._end = 0
        self._cut = 0

    @property
    def unsent(self) -> int:
        """Samples not yet sent."""
        return self._end - self._position

    @property
    def position(self) -> int:
        """The next sample to send."""
        return self._position

    @property
    def length_ms(self) -> int:
        """All audio so far."""
        return samples_to_ms(self._end, self.rate_hz)

    @property
    def made_ms(self) -> int:
        """All audio that was made for the turn, what was cut included."""
        return samples_to_ms(self._end + self._cut, self.rate_hz)

    def append(self, samples: Samples, words: Sequence[WordTiming] = (), visemes: Sequence[Viseme] = ()) -> None:
        """More audio of the phrase last added to the ledger; ``visemes`` count from the start of the turn's audio."""
        for viseme in visemes:
            insort(self._visemes, viseme, key=_start)
        self._chunks.append(samples)
        self._end += len(samples)
        self.ledger.extend(len(samples), words)

    def take(self, count: int, now_ms: int) -> Samples:
        """The next samples to send, at most ``count``, noted as sent at ``now_ms``."""
        count = min(count, self.unsent, count if self.stop_at is None else self.stop_at - self._position)
        taken = self._read(self._position, self._position + count)
        self._position += count
        self.ledger.sent(count, now_ms)
        return taken

    def take_visemes(self) -> list[Viseme]:
        """The mouth shapes of what was taken and not told yet."""
        end = bisect_left(self._visemes, self._position, key=_start)
        told, self._visemes_told = self._visemes_told, max(end, self._visemes_told)
        return self._visemes[told:end]

    def take_back(self, count: int) -> None:
        """The last ``count`` samples taken were not sent after all."""
        self._go_back_to(self._position - count)
        self.ledger.unsend(count)

    def cut(self) -> None:
        """What was not sent never will be; more may follow where sending has come to."""
        kept = self._read(self._kept_from, self._position)
        self._chunks = deque([kept] if len(kept) else ())
        self._cut += self.unsent
        self._end = self._position
        del self._visemes[bisect_left(self._visemes, self._position, key=_start) :]
        self.ledger.cut()

    def skip(self, most: int) -> int:
        """Leave out late phrases, ``most`` samples of them (see the ledger). Returns how many samples are gone."""
        gone = self.ledger.skip(most)
        if not gone:
            return 0
        before = self._read(self._kept_from, self._position)
        after = self._read(self._position + gone, self._end)
        self._chunks = deque(part for part in (before, after) if len(part))
        self._cut += gone
        self._end -= gone
        here = bisect_left(self._visemes, self._position, key=_start)
        there = bisect_left(self._visemes, self._position + gone, key=_start)
        moved = [replace(viseme, start_sample=viseme.start_sample - gone) for viseme in self._visemes[there:]]
        self._visemes[here:] = moved
        return gone

    def forget_heard(self, now_ms: int) -> None:
        """Release audio that was heard too long ago to be said again."""
        heard = self.ledger.heard_samples(now_ms) - ms_to_samples(KEPT_AFTER_HEARD_MS, self.rate_hz)
        while self._chunks and self._kept_from + len(self._chunks[0]) <= heard:
            self._kept_from += len(self._chunks.popleft())
        forgotten = min(bisect_left(self._visemes, self._kept_from, key=_start), self._visemes_told)
        del self._visemes[:forgotten]
        self._visemes_told -= forgotten

    def hold(self, now_ms: int) -> int:
        """Nothing is sent from now on, and a client that can drops its buffer. Returns the samples heard."""
        self.held = True
        if self._client_clears:
            self.ledger.hold(now_ms)
        return self.ledger.heard_samples(now_ms)

    def resume(self) -> int:
        """Go on from the start of the word that was cut short, or where sending stopped. Returns the position."""
        self.held = self.ended = False
        if not self._client_clears:
            return self._position
        heard = self.ledger.heard_samples(0)
        self._go_back_to(self.ledger.resume(self.ledger.word_start(heard), not_before=self._kept_from))
        return self._position

    def _go_back_to(self, position: int) -> None:
        self._position = position
        self._visemes_told = min(self._visemes_told, bisect_left(self._visemes, position, key=_start))

    def all_heard(self, now_ms: int) -> bool:
        """Whether the turn's audio is complete and the user has heard it."""
        return self.finished and not self.held and self.unsent == 0 and self.ledger.heard_samples(now_ms) >= self._end

    def _read(self, start: int, end: int) -> Samples:
        parts: list[Samples] = []
        at = self._kept_from
        for chunk in self._chunks:
            if at >= end:
                break
            if at + len(chunk) > start:
                parts.append(chunk[max(0, start - at) : end - at])
            at += len(chunk)
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.int16)


def _start(viseme: Viseme) -> int:
    return viseme.start_sample
