"""Who did a turn's hearing, thinking and speaking, where engines stand in for each other: counted now, divided later.

Counts samples by the engine that worked on them; the turn's totals are then divided so that the shares add up to them
exactly. A phrase's characters go to whoever spoke it, in proportion where it changed hands. Tokens are counted by model
as they are; what nobody is named for is the answering model's. Owned by the turn's account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from agents.models.port import TokenUsage
from audio.fallback import Maker
from metering.apportion import apportion
from metering.usage import ProviderShare, StageProvider


class Attribution:
    """See the module. ``preferred`` engines are named for what nobody else is known to have done."""

    def __init__(self) -> None:
        self._heard: Counter[Maker] = Counter()
        self._spoken: Counter[Maker] = Counter()
        self._thought: list[tuple[Maker, TokenUsage]] = []
        self._phrases: list[tuple[int, Counter[Maker]]] = []

    def heard(self, samples: Mapping[Maker, int]) -> None:
        """Speech was recognised, by whom."""
        self._heard.update(samples)

    def asked(self, characters: int, *, more: bool = False) -> None:
        """A phrase of so many characters is to be spoken; what is spoken from now on is of it. ``more``: they are of
        the phrase before, for a text that is spoken while it is written runs ahead of its audio."""
        if more and self._phrases:
            length, weights = self._phrases[-1]
            self._phrases[-1] = (length + characters, weights)
        else:
            self._phrases.append((characters, Counter()))

    def spoke(self, maker: Maker, samples: int) -> None:
        """A piece of the phrase was spoken."""
        self._spoken[maker] += samples
        if self._phrases:
            self._phrases[-1][1][maker] += samples

    def thought(self, maker: Maker, usage: TokenUsage) -> None:
        """A model took these tokens."""
        self._thought.append((maker, usage))

    def absorb(self, other: Attribution) -> None:
        """Take over what a draft did; but its tokens are told apart."""
        self._heard.update(other._heard)
        self._spoken.update(other._spoken)
        self._phrases = [*other._phrases, *self._phrases]

    def who(self, stage: str, preferred: StageProvider) -> StageProvider:
        """Who did most of a stage."""
        weights = {"stt": self._heard, "tts": self._spoken}.get(stage)
        if not weights:
            return preferred
        most = max(weights, key=lambda maker: weights[maker])
        return StageProvider(*most)

    def hearing(self, audio_ms: int, preferred: StageProvider) -> list[ProviderShare]:
        """``audio_ms`` of recognised speech, by who recognised it."""
        parts = apportion(audio_ms, _or(self._heard, preferred))
        return [ProviderShare("stt", *maker, audio_ms_in=part) for maker, part in parts.items()]

    def thinking(self, tokens: TokenUsage, preferred: StageProvider) -> list[ProviderShare]:
        """``tokens``, by the models that took them; those nobody is known for are ``preferred``'s."""
        by_maker: dict[Maker, Counter[str]] = {}
        rest = _tokens(tokens)
        for maker, usage in self._thought:
            by_maker.setdefault(maker, Counter()).update(_tokens(usage))
            rest.subtract(_tokens(usage))
        by_maker.setdefault(Maker(preferred.provider, preferred.model), Counter()).update(rest)
        return [ProviderShare("agent", *maker, **parts) for maker, parts in by_maker.items() if any(parts.values())]

    def speaking(self, audio_ms: int, characters: int, preferred: StageProvider) -> list[ProviderShare]:
        """``audio_ms`` of synthesized speech and ``characters`` asked for, by who spoke them."""
        audio = apportion(audio_ms, _or(self._spoken, preferred))
        written: Counter[Maker] = Counter()
        for length, weights in self._phrases:
            written.update(apportion(length, _or(weights or self._spoken, preferred)))
        if sum(written.values()) != characters:  # phrases nobody counted one by one
            written = Counter(apportion(characters, _or(written or self._spoken, preferred)))
        return [
            ProviderShare("tts", *maker, audio_ms_synthesized=audio.get(maker, 0), tts_characters=written[maker])
            for maker in dict.fromkeys((*audio, *written))
        ]


def _tokens(usage: TokenUsage) -> Counter[str]:
    return Counter(
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def _or(weights: Mapping[Maker, int], preferred: StageProvider) -> Mapping[Maker, int]:
    """The weights, or all of it for the preferred engine where nobody is known to have worked."""
    known = {maker: weight for maker, weight in weights.items() if weight > 0}
    return known or {Maker(preferred.provider, preferred.model): 1}
