"""The settings' section about budgets: what holds for tenants nobody has said anything else for, and bursts.

Who has which limits otherwise is in the records (``server.budgets.rules``). See ``server.settings``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from metering.budgets.limits import MOST_AMOUNT, Limit, Measure, Period, Scope
from server.setting_types import Section

Away = Literal["open", "closed"]
Consent = Literal["ask", "auto"]
PublicMeasure = Literal["money", "audio_s", "tokens", "turns"]
PublicPeriod = Literal["daily", "monthly"]

PERIOD_OF: dict[PublicPeriod, Period] = {"daily": "day", "monthly": "month"}
MEASURE_OF: dict[PublicMeasure, Measure] = {
    "money": "money",
    "audio_s": "audio_ms",
    "tokens": "tokens",
    "turns": "turns",
}
PERIOD_WORDS: dict[Period, PublicPeriod] = {counted: word for word, counted in PERIOD_OF.items()}
MEASURE_WORDS: dict[Measure, PublicMeasure] = {counted: word for word, counted in MEASURE_OF.items()}
"""What is counted, as settings, answers and errors name it."""
UNIT_OF: dict[Measure, int] = {"money": 1_000_000, "audio_ms": 1_000, "tokens": 1, "turns": 1}
"""How many of what is counted one unit is, as people say it: currency units, seconds."""


class LimitSettings(Section):
    """One default limit; ``amount`` in units of the currency, seconds, tokens or turns."""

    scope: Scope
    period: PublicPeriod
    measure: PublicMeasure
    amount: Decimal = Field(ge=0, max_digits=16, decimal_places=6)

    @property
    def limit(self) -> Limit:
        """As it is counted. Raises ValueError."""
        return limit_of(self.scope, self.period, self.measure, self.amount)


class BurstSettings(Section):
    """What one server takes within a minute, and at once; ``None``: as much as comes.

    ``..._per_minute`` hold for each tenant, ``..._per_minute_per_key`` for each user or key of it.
    """

    turns_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    turns_per_minute_per_key: int | None = Field(default=None, ge=1, le=1_000_000)
    sessions_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    sessions_per_minute_per_key: int | None = Field(default=None, ge=1, le=1_000_000)
    audio_s_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    audio_s_per_minute_per_key: int | None = Field(default=None, ge=1, le=1_000_000)
    sessions_per_tenant: int | None = Field(default=None, ge=1, le=10_000)
    sessions_per_user: int | None = Field(default=None, ge=1, le=10_000)


class BudgetSettings(Section):
    """What may be spent, where nobody has said anything else.

    ``own_lane`` is the lane of the operator's own tenants (those of ``api_keys``, and the person at the machine), whose
    keys the operator's are. ``managed_when_away`` and ``byok_when_away`` say what becomes of turns while the accounts
    cannot be asked. ``turn_audio_s`` is how much speech is reserved ahead. With a ``redis_url`` the accounts are there.
    """

    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    time_zone: str = "UTC"
    consent: Consent = "ask"
    limits: tuple[LimitSettings, ...] = ()
    bursts: BurstSettings = BurstSettings()
    own_lane: Literal["byok", "managed"] = "byok"
    managed_when_away: Away = "closed"
    byok_when_away: Away = "open"
    turn_audio_s: int = Field(default=60, ge=5, le=600)
    redis_url: SecretStr | None = None

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        zone(name)
        return name

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Self:
        named = [(limit.scope, limit.period, limit.measure) for limit in self.limits]
        if len(set(named)) < len(named):
            raise ValueError("budgets.limits: there are two limits for the same scope, period and measure")
        for limit in self.limits:
            _ = limit.limit
        if self.redis_url is not None and not self.redis_url.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("budgets.redis_url must start with redis:// or rediss://")
        return self


def limit_of(scope: Scope, period: PublicPeriod, measure: PublicMeasure, amount: Decimal) -> Limit:
    """A limit in public words, as it is counted. Raises ValueError."""
    counted = MEASURE_OF[measure]
    exact = amount * UNIT_OF[counted]
    if exact != exact.to_integral_value():
        raise ValueError(f"an amount of {measure} cannot be divided so finely: {amount}")
    if exact > MOST_AMOUNT:
        raise ValueError(f"an amount of {measure} is at most {MOST_AMOUNT // UNIT_OF[counted]}")
    return Limit(scope, PERIOD_OF[period], counted, int(exact))


def zone(name: str) -> ZoneInfo:
    """A time zone of the IANA database. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:  # KeyError: ZoneInfoNotFoundError
        raise ValueError(f"there is no time zone called {name} (such as Europe/Rome)") from error
