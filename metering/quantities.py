"""What of a usage event each provider did: the quantities a price can be put on. Pure.

The only place that says which of an event's fields a stage's provider is paid for. Knows no prices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from metering.usage import ProviderShare, StageProvider, UsageEvent

Meter = Literal[
    "audio_ms_in",
    "audio_ms_synthesized",
    "tts_characters",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "speculative_tokens",
    "call_ms",
]
METERS: Final[tuple[Meter, ...]] = get_args(Meter)
TIME_METERS: Final[frozenset[Meter]] = frozenset({"audio_ms_in", "audio_ms_synthesized", "call_ms"})
"""Those counted in milliseconds."""

UNKNOWN: Final = StageProvider("unknown", "unknown")
"""Who did work that no provider was named for: shown, and never priced."""

_STAGES: Final[tuple[tuple[str, tuple[Meter, ...]], ...]] = (
    ("stt", ("audio_ms_in",)),
    ("tts", ("audio_ms_synthesized", "tts_characters")),
    ("agent", ("input_tokens", "cached_input_tokens", "output_tokens")),
    ("call", ("call_ms",)),
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """How much of a meter one provider's model was used for by one event: milliseconds, characters or tokens."""

    provider: str
    model: str
    meter: Meter
    amount: int

    @property
    def whole_seconds(self) -> int:
        """Time meters: the amount rounded up to whole seconds, as some providers bill each request. Else 0."""
        return -(-self.amount // 1000) if self.meter in TIME_METERS else 0


def quantities(event: UsageEvent) -> tuple[Quantity, ...]:
    """What the event used, without zeros. ``input_tokens`` are those that were not cached.

    Reasoning is not told apart: providers charge it as output. A stage is divided by its shares, so that who stood in
    for another is paid for what it did; of a stage without shares (and of older events) everything is its provider's.
    """
    found: list[Quantity] = []
    for stage, meters in _STAGES:
        for who, source in _workers(event, stage):
            for meter in meters:
                amount = sum(getattr(part, meter) for part in source)
                if meter == "input_tokens":
                    amount = max(0, amount - sum(part.cached_input_tokens for part in source))
                if amount:
                    found.append(Quantity(who.provider, who.model, meter, amount))
    if event.speculative_tokens:  # of drafts, which are not divided by model
        who = event.providers.get("agent", UNKNOWN)
        found.append(Quantity(who.provider, who.model, "speculative_tokens", event.speculative_tokens))
    return tuple(found)


def _workers(event: UsageEvent, stage: str) -> list[tuple[StageProvider, Sequence[UsageEvent | ProviderShare]]]:
    """Who worked on a stage, and where it says how much; a provider's model once, whatever it is listed."""
    shares: dict[StageProvider, list[ProviderShare]] = {}
    for share in event.shares:
        if share.stage == stage:
            shares.setdefault(StageProvider(share.provider, share.model), []).append(share)
    return list(shares.items()) or [(event.providers.get(stage, UNKNOWN), (event,))]
