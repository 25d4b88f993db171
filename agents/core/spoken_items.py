"""The playout ledgers of replies that are over, so that a client may still say how much of one was heard.

Bounded: the oldest go first. Owned by the session.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from audio.formats import ms_to_samples, samples_to_ms
from audio.playout import PlayoutLedger

KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Truncated:
    """What is left of a reply: its audio, never more than there was, and the words in it (``None``: not known)."""

    audio_ms: int
    text: str | None


class SpokenItems:
    """Ledgers by item id."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[PlayoutLedger, int]] = OrderedDict()

    def keep(self, item_id: str, ledger: PlayoutLedger, rate_hz: int) -> None:
        """A reply is over; its ledger counts samples at ``rate_hz``."""
        self._kept[item_id] = (ledger, rate_hz)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def until(self, item_id: str, audio_ms: int) -> Truncated | None:
        """A reply as it was after ``audio_ms``; ``None`` where nothing is known of it."""
        kept = self._kept.get(item_id)
        return None if kept is None else truncated(*kept, audio_ms)


def truncated(ledger: PlayoutLedger, rate_hz: int, audio_ms: int) -> Truncated:
    """What of a reply had been said after ``audio_ms`` of its audio."""
    samples = min(ms_to_samples(audio_ms, rate_hz), ledger.synthesized_samples)
    return Truncated(min(audio_ms, samples_to_ms(ledger.synthesized_samples, rate_hz)), ledger.heard_text(samples))
