"""A language model with what all sessions know of it: whether it is worth asking, and how long it usually takes.

One ``GuardedModel`` per process and deployment. Owns the reading of failures for the breaker; knows nothing of other
models. Driven by ``agents.models.fallback`` and its parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from agents.errors import ModelError, ModelRateLimited, RequestRejected
from agents.models.port import LanguageModel, ModelProfile, QuotaSpent
from audio.breaker import Breaker, BreakerOptions
from audio.pace import Pace

BREAKER: Final = BreakerOptions(pause_s=2.0)
"""Pauses begin shorter than for speech engines: services that refuse by the minute say so themselves."""


def _breaker() -> Breaker[ModelError]:
    return Breaker(BREAKER)


@dataclass(frozen=True, slots=True)
class GuardedModel:
    """A model, whether it is worth asking, and how long it takes until its first words."""

    model: LanguageModel
    breaker: Breaker[ModelError] = field(default_factory=_breaker)
    pace: Pace = field(default_factory=Pace)

    @property
    def profile(self) -> ModelProfile:
        return self.model.profile

    @property
    def name(self) -> str:
        """The model in words; deployments of one provider are told apart."""
        profile = self.model.profile
        return f"{profile.provider} {profile.model}"

    def failed(self, error: ModelError, now_s: float) -> None:
        """It was asked and failed."""
        if isinstance(error, RequestRejected):  # it answers; only not this
            self.breaker.withdrawn()
        else:
            self.breaker.failed(error, now_s, at_once=isinstance(error, ModelRateLimited))

    def spent(self, event: QuotaSpent, now_s: float) -> None:
        """It answers, and has said that nothing is left for others."""
        message = "The language model's provider has nothing left for now."
        error = ModelRateLimited(message, provider=self.profile.provider, retry_after_s=event.rest_s)
        self.breaker.spent(error, now_s)
