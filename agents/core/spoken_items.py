"""The playout ledgers of replies that are over, so that a client may still say how much of one was heard.

Bounded: the oldest go first. Owned by the session.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from audio.formats import ms_to_samples
from audio.playout import PlayoutLedger

KEPT: Final = 64


class SpokenItems:
    """Ledgers by item id."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[PlayoutLedger, int]] = OrderedDict()

    def keep(self, item_id: str, ledger: PlayoutLedger, rate_hz: int) -> None:
        """A reply is over; its ledger counts samples at ``rate_hz``."""
        self._kept[item_id] = (ledger, rate_hz)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def heard_text(self, item_id: str, audio_ms: int) -> str | None:
        """What had been said after ``audio_ms`` of a reply; ``None`` where nothing is known of it."""
        kept = self._kept.get(item_id)
        if kept is None:
            return None
        ledger, rate_hz = kept
        return ledger.heard_text(min(ms_to_samples(audio_ms, rate_hz), ledger.synthesized_samples))
