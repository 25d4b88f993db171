"""What turns may cost at most and did cost, and which engines are the cheapest. Pure; knows no accounts.

A price that no confirmed sheet has is no price of nought: whoever works for it is not known to be affordable. Money of
another currency than the budget's is not converted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Protocol, TypeVar

from agents.core.options import Engines
from agents.core.spending import Most
from agents.models.fallback import FallbackModel
from audio.stt.fallback import FallbackSpeechToText
from audio.tts.fallback import FallbackTextToSpeech
from metering.budgets.limits import Amounts
from metering.pricing.book import PriceBook
from metering.pricing.cost import charge, event_cost
from metering.quantities import TIME_METERS, Meter
from metering.rollup import DAY_MS
from metering.usage import StageProvider, UsageEvent
from server.vault.models import TenantModel

E = TypeVar("E")

CHARACTERS_PER_TOKEN: Final = 6
SPEECH_MS_PER_CHARACTER: Final = 90
_USUAL: Final = Most(1_500, 256, 1, 600)
"""A turn by which engines are compared."""


class _Profile(Protocol):
    """What all engines say of themselves."""

    @property
    def provider(self) -> str: ...

    @property
    def model(self) -> str: ...


class NoPrice(Exception):
    """An engine whose price is not known in the budget's currency; the message says which, for the operator."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Who may work at each stage, the preferred one first."""

    stt: tuple[StageProvider, ...] = ()
    llm: tuple[StageProvider, ...] = ()
    tts: tuple[StageProvider, ...] = ()

    @classmethod
    def of(cls, engines: Engines, *, speech: bool = True) -> Chain:
        """Of a session's engines; ``speech`` false: nothing is heard or spoken."""
        model, stt, tts = engines.agent.model, engines.stt if speech else None, engines.tts if speech else None
        if isinstance(model, TenantModel):
            model = model.current
        models = [each.model for each in model.models] if isinstance(model, FallbackModel) else [model]
        ears = [each.engine for each in stt.engines] if isinstance(stt, FallbackSpeechToText) else [stt]
        voices = [each.engine for each in tts.engines] if isinstance(tts, FallbackTextToSpeech) else [tts]
        return cls(
            tuple(StageProvider(each.profile.provider, each.profile.model) for each in ears if each is not None),
            tuple(StageProvider(each.profile.provider, each.profile.model) for each in models),
            tuple(StageProvider(each.profile.provider, each.profile.model) for each in voices if each is not None),
        )

    @property
    def all(self) -> tuple[StageProvider, ...]:
        return (*self.stt, *self.llm, *self.tts)


class Prices:
    """A price book, asked in one currency."""

    def __init__(self, book: PriceBook, currency: str) -> None:
        self._book = book
        self.currency = currency

    def most(self, chain: Chain, most: Most, audio_ms: int, at_ms: int, *, priced: bool) -> Amounts:
        """The most a turn takes. Money only where it is ``priced``; raises NoPrice then."""
        units = Amounts(audio_ms, (most.input_tokens + most.output_tokens) * most.rounds, 1 if most.input_tokens else 0)
        if not priced:
            return units
        day = at_ms // DAY_MS
        heard = max((self._stt(who, audio_ms, day) for who in chain.stt), default=Fraction(0))
        thought = sum(sorted((self._llm(who, most, day) for who in chain.llm), reverse=True)[:2], Fraction(0))
        spoken = max((self._tts(who, most, day) for who in chain.tts), default=Fraction(0))
        exact = heard + (thought if most.input_tokens else 0) + spoken
        return replace(units, money={self.currency: -(-exact.numerator * 1_000_000 // exact.denominator)})

    def used(self, event: UsageEvent) -> Amounts:
        """What a turn took. Money of the managed lane alone: nobody else's is the operator's."""
        tokens = event.input_tokens + event.output_tokens + event.speculative_tokens
        turns = 1 if event.input_tokens or event.output_tokens else 0  # one that asked a model, as it was reserved for
        money: dict[str, int] = {}
        if event.mode == "managed":
            costs = event_cost(event, self._book)
            money = {unit: -(-cost.numerator * 1_000_000 // cost.denominator) for unit, cost in costs.items() if cost}
        return Amounts(event.audio_ms_in, tokens, turns, money)

    def speaks_free(self, chain: Chain, at_ms: int) -> bool:
        """Whether its voices are known to cost nothing."""
        try:
            return not any(self._tts(who, _USUAL, at_ms // DAY_MS) for who in chain.tts)
        except NoPrice:
            return False

    def thrifty(self, engines: Engines, at_ms: int) -> Engines | None:
        """The cheapest of each stage's engines; ``None`` where these are the cheapest there are."""
        day = at_ms // DAY_MS
        model, stt, tts = engines.agent.model, engines.stt, engines.tts
        agent = engines.agent
        if isinstance(model, TenantModel) and not model.profile.own:  # what the tenant pays is not ours to save
            model = model.current
        if isinstance(model, FallbackModel):
            kept = _cheapest(model.models, lambda each: self._llm(_named(each.model.profile), _USUAL, day))
            if len(kept) < len(model.models):
                cheapest = FallbackModel(kept, takeover_s=model.takeover_s)
                agent = agent.on(lambda _: cheapest)
        if isinstance(stt, FallbackSpeechToText):
            ears = _cheapest(stt.engines, lambda each: self._stt(_named(each.engine.profile), 10_000, day))
            stt = stt if len(ears) == len(stt.engines) else FallbackSpeechToText(ears)
        if isinstance(tts, FallbackTextToSpeech):
            voices = _cheapest(tts.engines, lambda each: self._tts(_named(each.engine.profile), _USUAL, day))
            tts = tts if len(voices) == len(tts.engines) else FallbackTextToSpeech(voices)
        if agent is engines.agent and stt is engines.stt and tts is engines.tts:
            return None
        return replace(engines, agent=agent, stt=stt, tts=tts)

    def _stt(self, who: StageProvider, audio_ms: int, day: int) -> Fraction:
        return self._cost(who, "audio_ms_in", audio_ms, day)

    def _llm(self, who: StageProvider, most: Most, day: int) -> Fraction:
        dearest = self._cost(who, "output_tokens", most.output_tokens * most.rounds, day)
        return dearest + self._cost(who, "input_tokens", most.input_tokens * most.rounds, day)

    def _tts(self, who: StageProvider, most: Most, day: int) -> Fraction:
        characters = most.output_tokens * CHARACTERS_PER_TOKEN + most.characters
        spoken = self._cost(who, "audio_ms_synthesized", characters * SPEECH_MS_PER_CHARACTER, day)
        return spoken + self._cost(who, "tts_characters", characters, day)

    def _cost(self, who: StageProvider, meter: Meter, amount: int, day: int) -> Fraction:
        if not amount:
            return Fraction(0)
        offer = self._book.offer(who.provider, who.model, meter, day)
        if offer is None:
            raise NoPrice(f"{who.provider} {who.model} has no price for {meter}")
        cost = charge(offer.price, amount, -(-amount // 1_000) if meter in TIME_METERS else 0)
        if cost and offer.sheet.currency != self.currency:
            raise NoPrice(f"{who.provider} {who.model} is priced in {offer.sheet.currency}, not in {self.currency}")
        return cost


def _named(profile: _Profile) -> StageProvider:
    return StageProvider(profile.provider, profile.model)


def _cheapest(who: Sequence[E], cost: Callable[[E], Fraction]) -> list[E]:
    """Those that cost least; one whose price is not known costs more than any other."""
    costs: list[Fraction | None] = []
    for each in who:
        try:
            costs.append(cost(each))
        except NoPrice:
            costs.append(None)
    known = [each for each in costs if each is not None]
    if not known:
        return list(who)
    return [each for each, its in zip(who, costs, strict=True) if its == min(known)]
