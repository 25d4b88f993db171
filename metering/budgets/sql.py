"""The budget store on the records' database: SQLite or PostgreSQL, one set of statements.

Whoever changes an account first makes its row and, on PostgreSQL, locks it, in the order of the accounts' names: of
many servers that race for the last of it one is asked after the other, and nobody waits in a circle. On SQLite writers
take turns anyway. Leases are timed by the clock that is given, the same for all servers that share a database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from metering.budgets.limits import share
from metering.budgets.store import Balance, BudgetStoreAway, Entry, Given, Line, Settlement, Shortage
from metering.records import Records, RecordsError
from metering.records.upsert import upsert

T = TypeVar("T")

ASK_LIMIT_S: Final = 5.0
_ENTRIES_LOCK: Final = 0x636F6E7665726704  # of PostgreSQL's advisory locks; others: metering.records.migrate

_meta = sa.MetaData()
_accounts = sa.Table(
    "budget_accounts",
    _meta,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("used", sa.BigInteger),
    sa.Column("touched_ms", sa.BigInteger),
)
_holds = sa.Table(
    "budget_holds",
    _meta,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger),
    sa.Column("until_ms", sa.BigInteger),
)
_entries = sa.Table(
    "budget_entries",
    _meta,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("at_ms", sa.BigInteger),
    sa.Column("amounts", sa.Text),
)
_marks = sa.Table(
    "budget_marks", _meta, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.BigInteger)
)


class SqlBudgets:
    """See the module and the port. The records stay their owner's to close."""

    def __init__(self, records: Records, now_ms: Callable[[], int]) -> None:
        self._records = records
        self._now_ms = now_ms

    async def reserve(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Given | Shortage:
        def work(connection: Connection) -> Given | Shortage:
            now_ms = self._now_ms()
            balances = _locked_balances(connection, [line.account for line in lines], holder, now_ms)
            given: dict[str, int] = {}
            for line in lines:
                balance = balances[line.account]
                free = line.cap - balance.used - balance.others - line.have
                amount = share(line.amount, line.most, free)
                if amount is None:
                    return Shortage(line.account, max(0, free), balance)
                given[line.account] = amount
            held = {line.account: line.have + given[line.account] for line in lines}
            _hold(connection, holder, held, now_ms + lease_ms)
            return Given(given, balances)

        return await self._write(work)

    async def settle(self, holder: str, settlement: Settlement) -> Mapping[str, Balance]:
        def work(connection: Connection) -> Mapping[str, Balance]:
            changes = _enter(connection, settlement.entries)
            now_ms = self._now_ms()
            names = {*changes, *settlement.holds}
            balances = _locked_balances(connection, names, holder, now_ms)
            touched_ms = max((entry.at_ms for entry in settlement.entries), default=now_ms)
            for name, change in changes.items():
                balances[name] = Balance(balances[name].used + change, balances[name].others)
            if changes:
                counted = [
                    {"account": name, "used": balances[name].used, "touched_ms": touched_ms} for name in sorted(changes)
                ]
                upsert(connection, _accounts, counted, ["used", "touched_ms"])
            _lower(connection, holder, settlement.holds)
            return {name: balances[name] for name in settlement.holds}

        return await self._write(work)

    async def renew(self, holder: str, lines: Sequence[Line], lease_ms: int) -> Mapping[str, int]:
        def work(connection: Connection) -> Mapping[str, int]:
            now_ms, held = self._now_ms(), dict[str, int]()
            balances = _locked_balances(connection, [line.account for line in lines], holder, now_ms)
            mine = sa.select(_holds.c.account, _holds.c.until_ms).where(_holds.c.holder == holder)
            until = {row.account: row.until_ms for row in connection.execute(mine)}
            for line in lines:
                balance = balances[line.account]
                free = max(0, line.cap - balance.used - balance.others)
                stands = until.get(line.account, 0) > now_ms
                held[line.account] = line.have if stands else min(line.have, free)
            connection.execute(_holds.delete().where(_holds.c.holder == holder))
            _hold(connection, holder, {name: amount for name, amount in held.items() if amount}, now_ms + lease_ms)
            return held

        return await self._write(work)

    async def balances(self, accounts: Sequence[str]) -> Mapping[str, Balance]:
        return await self._read(lambda connection: _balances(connection, accounts, "", self._now_ms()))

    async def mark(self, name: str) -> int | None:
        asked = sa.select(_marks.c.value).where(_marks.c.name == name)
        return await self._read(lambda connection: connection.execute(asked).scalar())

    async def set_mark(self, name: str, value: int) -> None:
        await self._write(lambda connection: upsert(connection, _marks, [{"name": name, "value": value}], ["value"]))

    async def prune(self, before_ms: int) -> None:
        def work(connection: Connection) -> None:
            connection.execute(_entries.delete().where(_entries.c.at_ms < before_ms))
            connection.execute(_accounts.delete().where(_accounts.c.touched_ms < before_ms, _accounts.c.used > 0))
            connection.execute(_holds.delete().where(_holds.c.until_ms < before_ms))

        await self._write(work)

    async def aclose(self) -> None:
        """The records are their owner's."""

    async def _write(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._records.run_write(work, ASK_LIMIT_S)
        except RecordsError as error:
            raise BudgetStoreAway(str(error)) from error

    async def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._records.run_read(work, ASK_LIMIT_S)
        except RecordsError as error:
            raise BudgetStoreAway(str(error)) from error


def _locked_balances(connection: Connection, accounts: Iterable[str], holder: str, now_ms: int) -> dict[str, Balance]:
    names = sorted(set(accounts))
    if names:
        rows = [{"account": name, "used": 0, "touched_ms": now_ms} for name in names]
        upsert(connection, _accounts, rows)
    if names and connection.dialect.name == "postgresql":
        locked = sa.select(_accounts.c.account).where(_accounts.c.account.in_(names))
        connection.execute(locked.order_by(_accounts.c.account).with_for_update()).all()
    return _balances(connection, names, holder, now_ms)


def _balances(connection: Connection, names: Sequence[str], holder: str, now_ms: int) -> dict[str, Balance]:
    used = sa.select(_accounts.c.account, _accounts.c.used).where(_accounts.c.account.in_(names))
    found = {row.account: int(row.used) for row in connection.execute(used)}
    held = (
        sa.select(_holds.c.account, sa.func.sum(_holds.c.amount).label("amount"))
        .where(_holds.c.account.in_(names), _holds.c.holder != holder, _holds.c.until_ms > now_ms)
        .group_by(_holds.c.account)
    )
    others = {row.account: int(row.amount) for row in connection.execute(held)}
    return {name: Balance(found.get(name, 0), others.get(name, 0)) for name in names}


def _hold(connection: Connection, holder: str, amounts: Mapping[str, int], until_ms: int) -> None:
    rows = [
        {"account": name, "holder": holder, "amount": amount, "until_ms": until_ms}
        for name, amount in sorted(amounts.items())
    ]
    if rows:
        upsert(connection, _holds, rows, ["amount", "until_ms"])


def _lower(connection: Connection, holder: str, holds: Mapping[str, int]) -> None:
    mine = _holds.c.holder == holder
    gone = [name for name, amount in holds.items() if not amount]
    if gone:
        connection.execute(_holds.delete().where(mine, _holds.c.account.in_(gone)))
    for name, amount in holds.items():
        if amount:
            row = sa.and_(mine, _holds.c.account == name, _holds.c.amount > amount)
            connection.execute(_holds.update().where(row).values(amount=amount))


def _enter(connection: Connection, entries: Sequence[Entry]) -> dict[str, int]:
    """Note entries that are new; what they change, by account. Those of one call in their order."""
    changes: dict[str, int] = {}
    ids = {name for entry in entries for name in (entry.event_id, entry.replaces) if name is not None}
    if not ids:
        return changes
    if connection.dialect.name == "postgresql":  # of two servers that settle the same event the second finds it settled
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ENTRIES_LOCK})
    asked = sa.select(_entries.c.event_id, _entries.c.amounts).where(_entries.c.event_id.in_(ids))
    known = {row.event_id: str(row.amounts) for row in connection.execute(asked)}
    noted: dict[str, dict[str, object]] = {}
    for entry in entries:
        if entry.event_id in known:
            continue
        _add(changes, entry.amounts, 1)
        known[entry.event_id] = json.dumps(dict(entry.amounts))
        noted[entry.event_id] = {"event_id": entry.event_id, "at_ms": entry.at_ms, "amounts": known[entry.event_id]}
        if entry.replaces is not None:
            _add(changes, json.loads(known.get(entry.replaces, "{}")), -1)
            known[entry.replaces] = "{}"
            noted[entry.replaces] = {"event_id": entry.replaces, "at_ms": entry.at_ms, "amounts": "{}"}
    if noted:
        upsert(connection, _entries, [noted[name] for name in sorted(noted)], ["amounts"])
    return {name: change for name, change in changes.items() if change}


def _add(changes: dict[str, int], amounts: Mapping[str, int], sign: int) -> None:
    for name, amount in amounts.items():
        changes[name] = changes.get(name, 0) + sign * amount


def forget_accounts(connection: Connection, beginning: str) -> None:
    """Take out the accounts whose names begin so, with what is held of them, and their names from what was counted."""
    for table in (_accounts, _holds):
        maybe = sa.select(table.c.account).where(table.c.account.startswith(beginning, autoescape=True)).distinct()
        # SQLite's LIKE does not tell "ada" from "Ada".
        theirs = [name for name in connection.execute(maybe).scalars() if name.startswith(beginning)]
        connection.execute(table.delete().where(table.c.account.in_(theirs)))
    naming = _entries.c.amounts.contains(f'"{beginning}', autoescape=True)
    for event_id, told in connection.execute(sa.select(_entries.c.event_id, _entries.c.amounts).where(naming)).all():
        amounts = {name: amount for name, amount in json.loads(told).items() if not name.startswith(beginning)}
        row = _entries.c.event_id == event_id
        connection.execute(_entries.update().where(row).values(amounts=json.dumps(amounts)))
