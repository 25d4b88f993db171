"""Daily sums by person, beside those by agent: their values, tables, questions and rows. Pure.

The same idea as ``metering.rollup``'s and counted by it, with the person in the key; kept apart because there are as
many rows as people, and reports that do not ask for people must not read them. Which events count is the rollup's to
say; how rows are written is the adapters'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

USER_TABLE: Final = "usage_users_daily"
USER_AMOUNT_TABLE: Final = "usage_users_amounts"
AMOUNT_SUMS: Final = ("amount", "whole_seconds")

UserKey = tuple[int, str, str, str, str]
"""Day, tenant, agent, lane, person."""
UserAmountKey = tuple[int, str, str, str, str, str, str, str]
"""Day, tenant, agent, lane, person, provider, model, meter."""


@dataclass(frozen=True, slots=True)
class TurnSums:
    """What reports tell of turns, summed. The last three count events."""

    events: int = 0
    audio_ms_in: int = 0
    audio_ms_out: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    failed: int = 0
    interrupted: int = 0
    unclaimed: int = 0

    @property
    def turns(self) -> int:
        """Events that are turns: without those for work that belonged to none."""
        return self.events - self.unclaimed

    def plus(self, other: TurnSums) -> TurnSums:
        """Both together."""
        return TurnSums(*(getattr(self, name) + getattr(other, name) for name in SUM_FIELDS))

    @classmethod
    def of(cls, totals: object) -> TurnSums:
        """The sums among those of a ``UsageTotals``."""
        return cls(*(int(getattr(totals, name)) for name in SUM_FIELDS))


SUM_FIELDS: Final = tuple(f.name for f in fields(TurnSums))


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Which sums. ``None`` means any; days are UTC days since 1970-01-01, from inclusive to exclusive."""

    tenant_id: str | None = None
    agent_id: str | None = None
    user_id: str | None = None
    first_day: int | None = None
    day_before: int | None = None

    def matches(self, key: UserKey) -> bool:
        day, tenant_id, agent_id, _, user_id = key
        return (
            self.tenant_id in (None, tenant_id)
            and self.agent_id in (None, agent_id)
            and self.user_id in (None, user_id)
            and (self.first_day is None or day >= self.first_day)
            and (self.day_before is None or day < self.day_before)
        )


@dataclass(frozen=True, slots=True)
class UserUsage:
    """What one person did over the days asked for."""

    tenant_id: str
    user_id: str
    sums: TurnSums


@dataclass(frozen=True, slots=True)
class UserAmount:
    """How much of one meter of a provider's model that took; see ``metering.quantities``."""

    tenant_id: str
    user_id: str
    mode: str
    provider: str
    model: str
    meter: str
    amount: int
    whole_seconds: int


USER_KEY: Final = ("day", "tenant_id", "agent_id", "mode", "user_id")
USER_AMOUNT_KEY: Final = (*USER_KEY, "provider", "model", "meter")
USER_COLUMNS: Final = ("row_id", *USER_KEY, *SUM_FIELDS)
USER_AMOUNT_COLUMNS: Final = ("row_id", *USER_AMOUNT_KEY, *AMOUNT_SUMS)
_CONDITIONS: Final = (
    ("tenant_id", "tenant_id = "),
    ("agent_id", "agent_id = "),
    ("user_id", "user_id = "),
    ("first_day", "day >= "),
    ("day_before", "day < "),
)
_USAGE_GROUP: Final = ("tenant_id", "user_id")
_AMOUNT_GROUP: Final = ("tenant_id", "user_id", "mode", "provider", "model", "meter")


def tables(integer: str, text: str, end: str = "") -> tuple[str, ...]:
    """The statements that make the tables, with a database's names for its types; and an index of a person's events."""
    names = {*SUM_FIELDS, *AMOUNT_SUMS, "day"}

    def columns(wanted: Sequence[str]) -> str:
        return ", ".join(f"{name} {integer if name in names else text} NOT NULL" for name in wanted[1:])

    person = "CREATE INDEX IF NOT EXISTS usage_events_person ON usage_events (tenant_id, user_id, sequence)"
    made = ((USER_TABLE, USER_COLUMNS), (USER_AMOUNT_TABLE, USER_AMOUNT_COLUMNS))
    return person, *(
        statement
        for table, wanted in made
        for statement in (
            f"CREATE TABLE {table} (row_id {text} PRIMARY KEY, {columns(wanted)}){end}",
            f"CREATE INDEX {table}_day ON {table} (tenant_id, day)",
        )
    )


def renaming(mark: str, drawn: str) -> tuple[str, ...]:
    """The statements that put a person's sums under a pseudonym, each with three values: new name, tenant, person.

    ``drawn`` is a database's expression for a fresh random text: a row's id is made of the person's name, so it goes
    with it. Else the id would tell whose pseudonym it is, and would be the one that their next turns are counted into.
    """
    return tuple(
        f"UPDATE {table} SET user_id = {mark}, row_id = {drawn} "  # noqa: S608  (constants)
        f"WHERE tenant_id = {mark} AND user_id = {mark}"
        for table in (USER_TABLE, USER_AMOUNT_TABLE)
    )


def users_question(query: UserQuery, mark: str) -> tuple[str, tuple[Any, ...]]:
    """The columns of ``UserUsage``, its sums at the end."""
    return _grouped(USER_TABLE, _USAGE_GROUP, SUM_FIELDS, query, mark)


def user_amounts_question(query: UserQuery, mark: str) -> tuple[str, tuple[Any, ...]]:
    """The columns of ``UserAmount``."""
    return _grouped(USER_AMOUNT_TABLE, _AMOUNT_GROUP, AMOUNT_SUMS, query, mark)


def users(rows: Sequence[Sequence[Any]]) -> tuple[UserUsage, ...]:
    """The answer to ``users_question``, in the order of its names; some databases sum into decimals."""
    found = [UserUsage(row[0], row[1], TurnSums(*map(int, row[2:]))) for row in rows]
    return tuple(sorted((row for row in found if row.sums.events), key=lambda row: (row.tenant_id, row.user_id)))


def user_amounts(rows: Sequence[Sequence[Any]]) -> tuple[UserAmount, ...]:
    """The answer to ``user_amounts_question``, likewise."""
    found = [
        UserAmount(tenant, user, mode, provider, model, meter, int(amount), int(seconds))
        for tenant, user, mode, provider, model, meter, amount, seconds in sorted(map(tuple, rows))
    ]
    return tuple(row for row in found if row.amount)


def folded_users(sums: Mapping[UserKey, TurnSums], query: UserQuery) -> tuple[UserUsage, ...]:
    """What a database answers to ``users_question``, from the rows themselves."""
    found: dict[tuple[str, str], TurnSums] = {}
    for key, counted in sums.items():
        if query.matches(key):
            who = (key[1], key[4])
            found[who] = found.get(who, TurnSums()).plus(counted)
    return users([(*who, *(getattr(counted, name) for name in SUM_FIELDS)) for who, counted in found.items()])


def folded_amounts(amounts: Mapping[UserAmountKey, tuple[int, int]], query: UserQuery) -> tuple[UserAmount, ...]:
    """What a database answers to ``user_amounts_question``, from the rows themselves."""
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for key, (amount, seconds) in amounts.items():
        if query.matches(key[:5]):
            what = (key[1], key[4], key[3], *key[5:])
            before = found.get(what, (0, 0))
            found[what] = (before[0] + amount, before[1] + seconds)
    return user_amounts([(*what, *sums) for what, sums in found.items()])


def _grouped(
    table: str, group: Sequence[str], sums: Sequence[str], query: UserQuery, mark: str
) -> tuple[str, tuple[Any, ...]]:
    wanted = [(sql + mark, getattr(query, name)) for name, sql in _CONDITIONS]
    conditions = [sql for sql, value in wanted if value is not None]
    where = " WHERE " + " AND ".join(conditions) if conditions else ""
    names, summed = ", ".join(group), ", ".join(f"sum({name})" for name in sums)
    sql = f"SELECT {names}, {summed} FROM {table}{where} GROUP BY {names}"  # noqa: S608  (constants)
    return sql, tuple(value for _, value in wanted if value is not None)
