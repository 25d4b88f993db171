"""What a budget is, and what is to be done at which share of it. Pure.

A limit bounds one measure of one scope in one period. Money is in millionths of a currency's unit and bounds the
managed lane alone; units (turns, tokens, milliseconds of audio) bound every lane. What is counted stands in accounts,
one for each scope, period and measure; an account's name is all a store knows of it. The shares are the contract's
(section 6): at 80 % a warning, above 90 % the cheapest provider, at 110 % an end unless an override stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal, get_args
from urllib.parse import quote

from metering.usage import Mode

Scope = Literal["global", "tenant", "user"]
Period = Literal["day", "month"]
Measure = Literal["money", "audio_ms", "tokens", "turns"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
PERIODS: Final[tuple[Period, ...]] = get_args(Period)
UNITS: Final[tuple[Measure, ...]] = ("audio_ms", "tokens", "turns")

WARN_PERCENT: Final = 80
THRIFT_PERCENT: Final = 90
BLOCK_PERCENT: Final = 110
MOST_PERCENT: Final = 1_000
"""How far an override may reach."""
MOST_AMOUNT: Final = 10**15
"""The largest limit: a store may count in double-precision floats, and caps stay below 2**53 with any override."""
NO_CAP: Final = 9 * 10**15
SHARE: Final = 8
"""Of what is free in an account a server takes at most this part ahead of its need."""

State = Literal["free", "warned", "thrifty", "blocked"]


@dataclass(frozen=True, slots=True)
class Limit:
    """``amount`` of ``measure`` in every ``period``, for whom ``scope`` says. Of ``money``, micro-units."""

    scope: Scope
    period: Period
    measure: Measure
    amount: int


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody who may do that lets ``scope`` go on up to ``percent`` of its limits until ``until_ms``."""

    override_id: str
    scope: Scope
    tenant_id: str
    user_id: str
    percent: int
    until_ms: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose turn it is that is counted."""

    tenant_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Zones:
    """Whose midnight ends a window: the server's for the global scope, the tenant's for all else."""

    server: tzinfo
    tenant: tzinfo

    def of(self, scope: Scope) -> tzinfo:
        return self.server if scope == "global" else self.tenant


@dataclass(frozen=True, slots=True)
class Window:
    """A day or a month of somebody's calendar; ``name`` is ``2026-11-28`` or ``2026-11``. Ends are exclusive."""

    name: str
    starts_ms: int
    ends_ms: int


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a turn takes, or may take at most. ``money`` is micro-units by currency."""

    audio_ms: int = 0
    tokens: int = 0
    turns: int = 0
    money: Mapping[str, int] | None = None

    def of(self, measure: Measure, currency: str) -> int:
        if measure == "money":
            return (self.money or {}).get(currency, 0)
        return int(getattr(self, measure))


@dataclass(frozen=True, slots=True)
class Need:
    """So much of an account, which must not pass ``cap``: ``ends_at_percent`` of the ``limit``, in whole amounts."""

    account: str
    amount: int
    cap: int
    limit: Limit
    ends_at_percent: int = BLOCK_PERCENT


def window(period: Period, epoch_ms: int, zone: tzinfo) -> Window:
    """The day or month of ``zone`` in which that moment lies."""
    # From the epoch by addition: no clock of the machine's and no limit of its C library.
    at = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)).astimezone(zone)
    first = at.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if period == "day":
        after, name = first + timedelta(days=1), first.strftime("%Y-%m-%d")
    else:
        first = first.replace(day=1)
        after, name = (first + timedelta(days=32)).replace(day=1), first.strftime("%Y-%m")
    return Window(name, _epoch_ms(first, zone), _epoch_ms(after, zone))


def account(scope: Scope, whose: Whose, period: Period, name: str, measure: str) -> str:
    """The name under which it is counted; ``measure`` is ``money:EUR`` for money in euros."""
    parts = {"global": "", "tenant": quote(whose.tenant_id, safe="")}
    who = parts.get(scope, f"{quote(whose.tenant_id, safe='')}/{quote(whose.user_id, safe='')}")
    return f"{scope}|{who}|{period}|{name}|{measure}"


def user_accounts(whose: Whose) -> str:
    """How the names of all accounts begin that are one user's."""
    return account("user", whose, "day", "", "").removesuffix("day||")


def accounts_of(whose: Whose, amounts: Amounts, at_ms: int, zones: Zones) -> dict[str, int]:
    """Every account that counts these amounts at that moment, with what it counts; nothing where that is nought."""
    named = {measure: int(getattr(amounts, measure)) for measure in UNITS}
    counted: dict[str, int] = {**named, **{f"money:{unit}": micros for unit, micros in (amounts.money or {}).items()}}
    found: dict[str, int] = {}
    for scope in SCOPES:
        for period in PERIODS:
            name = window(period, at_ms, zones.of(scope)).name
            found |= {
                account(scope, whose, period, name, measure): amount for measure, amount in counted.items() if amount
            }
    return found


def applies(limit: Limit, mode: Mode) -> bool:
    """Whether a limit bounds this lane."""
    return limit.measure != "money" or mode == "managed"


def cap(limit: int, percent: int = BLOCK_PERCENT) -> int:
    """What is never passed."""
    return min(NO_CAP, limit * percent // 100)


def state(used: int, limit: int, percent: int = BLOCK_PERCENT) -> State:
    """What is to be done where so much of a limit is used and the end is at ``percent`` of it."""
    if used * 100 >= limit * percent:
        return "blocked"
    if used * 100 > limit * THRIFT_PERCENT:
        return "thrifty"
    return "warned" if used * 100 >= limit * WARN_PERCENT else "free"


def used_percent(used: int, limit: int) -> int:
    """Whole percents, rounded down; of a limit of nought everything is used."""
    return BLOCK_PERCENT if limit <= 0 else used * 100 // limit


def reach(scope: Scope, whose: Whose, overrides: Iterable[Override], now_ms: int) -> int:
    """Up to which percent of its limits a scope may go now."""
    ends = [BLOCK_PERCENT]
    for override in overrides:
        matches = override.scope == scope and (
            scope == "global"
            or (override.tenant_id == whose.tenant_id and (scope == "tenant" or override.user_id == whose.user_id))
        )
        if matches and now_ms < override.until_ms:
            ends.append(override.percent)
    return max(ends)


def share(amount: int, most: int, free: int) -> int | None:
    """How much is given to who needs ``amount`` and would take ``most`` of what is free; ``None``: it is too little."""
    return None if free < amount else max(amount, min(most, free // SHARE))


def _epoch_ms(local: datetime, zone: tzinfo) -> int:
    return round((local.replace(tzinfo=zone) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000)
