"""Daily sums by person, beside those by agent: their values, tables, questions and rows. Pure.

The same idea as ``metering.rollup``'s and counted by it, with the person in the key; kept apart because there are as
many rows as people, and reports that do not ask for people must not read them. Which events count is the rollup's to
say; how rows are written is the adapters'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
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

    def plus(self, other: TurnSums, times: int = 1) -> TurnSums:
        """The sums with ``other`` counted in, so many times; -1 takes it out."""
        return TurnSums(*(getattr(self, name) + times * getattr(other, name) for name in SUM_FIELDS))

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
    user_ids: tuple[str, ...] | None = None
    first_day: int | None = None
    day_before: int | None = None

    def matches(self, key: UserKey) -> bool:
        day, tenant_id, agent_id, _, user_id = key
        return (
            self.tenant_id in (None, tenant_id)
            and self.agent_id in (None, agent_id)
            and (self.user_ids is None or user_id in self.user_ids)
            and (self.first_day is None or day >= self.first_day)
            and (self.day_before is None or day < self.day_before)
        )


Person = tuple[str, str]
"""Tenant and user."""


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
    ("first_day", "day >= "),
    ("day_before", "day < "),
)
INDEXES_BY_PERSON: Final = tuple(
    statement
    for table in (USER_TABLE, USER_AMOUNT_TABLE)
    for statement in (
        f"DROP INDEX {table}_day",
        f"CREATE INDEX {table}_person ON {table} (tenant_id, day, user_id)",
    )
)
"""The statements of the migration after the tables': a few people's rows of some days are found without the others'."""
_MOST_DAYS: Final = 400
"""So many days are asked for one by one, together with people: then an index finds each of them."""
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


def busiest_question(query: UserQuery, most: int, mark: str) -> tuple[str, tuple[Any, ...]]:
    """``user_id``, and ``tenant_id`` where the query names none: of those who talked most, ``most`` at most."""
    where, values = _where(query, mark)
    names = "user_id" if query.tenant_id is not None else "user_id, tenant_id"
    sql = (
        f"SELECT {names} FROM {USER_TABLE}{where} GROUP BY {names} HAVING sum(events) <> 0 "  # noqa: S608  (constants)
        f"ORDER BY sum(audio_ms_in + audio_ms_out) DESC, {names} LIMIT {mark}"
    )
    return sql, (*values, most)


def busiest(rows: Sequence[Sequence[Any]], query: UserQuery) -> tuple[Person, ...]:
    """The answer to ``busiest_question``."""
    return tuple((row[1] if query.tenant_id is None else query.tenant_id, row[0]) for row in rows)


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


def folded_busiest(sums: Mapping[UserKey, TurnSums], query: UserQuery, most: int) -> tuple[Person, ...]:
    """What a database answers to ``busiest_question``, from the rows themselves."""
    found = folded_users(sums, query)
    ranked = sorted(found, key=lambda row: (-row.sums.audio_ms_in - row.sums.audio_ms_out, row.user_id, row.tenant_id))
    return tuple((row.tenant_id, row.user_id) for row in ranked[:most])


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
    where, values = _where(query, mark)
    names, summed = ", ".join(group), ", ".join(f"sum({name})" for name in sums)
    return f"SELECT {names}, {summed} FROM {table}{where} GROUP BY {names}", values  # noqa: S608  (constants)


def _where(query: UserQuery, mark: str) -> tuple[str, tuple[Any, ...]]:
    among: dict[str, Sequence[str | int]] = {}
    if query.user_ids is not None:
        among["user_id"] = query.user_ids
        first, before = query.first_day, query.day_before
        if first is not None and before is not None and before - first <= _MOST_DAYS:
            among["day"] = range(first, before)
            query = replace(query, first_day=None, day_before=None)
    wanted = [(sql, getattr(query, name)) for name, sql in _CONDITIONS]
    conditions = [sql + mark for sql, value in wanted if value is not None]
    conditions += [f"{name} IN ({', '.join([mark] * len(each))})" if each else "1 = 0" for name, each in among.items()]
    values = [value for _, value in wanted if value is not None]
    return where_clause(conditions), (*values, *(value for each in among.values() for value in each))


def where_clause(conditions: Sequence[str]) -> str:
    """The WHERE of a statement; nothing where there are no conditions."""
    return " WHERE " + " AND ".join(conditions) if conditions else ""
