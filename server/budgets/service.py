"""The office of budgets of one server: its desk, its rules, its prices, and the tasks that keep the accounts true.

Sessions get a purse each (``server.budgets.purse``); routes and reports ask how somebody stands. ``run`` tends the desk
and counts what is in the ledger and not yet in the accounts (what other servers left when they were killed,
corrections), for as long as the host runs. Knows no session.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, cast

import anyio
import anyio.to_thread

from metering.budgets.desk import BudgetDesk
from metering.budgets.limits import (
    Amounts,
    Limit,
    Need,
    State,
    Whose,
    Window,
    account,
    accounts_of,
    applies,
    cap,
    state,
    used_percent,
    window,
)
from metering.budgets.sql import SqlBudgets
from metering.budgets.store import Balance, BudgetStore, BudgetStoreAway, Entry, Settlement
from metering.erasure import months_before
from metering.errors import LedgerError
from metering.ledger import Ledger, PageRequest, UsageQuery
from metering.records import Records, RecordsError, RecordsUnavailable
from metering.rollup import DAY_MS
from metering.usage import Mode, UsageEvent
from server.audit import AuditLog
from server.budgets.bursts import Bursts
from server.budgets.prices import Prices
from server.budgets.rules import BudgetRules, Rules
from server.ledgers import price_book
from server.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

CATCH_UP_S: Final = 15.0
"""How often the ledger is read for what is not counted yet."""
PAGE: Final = 500
PRUNE_S: Final = 3_600.0
KEPT_DAYS: Final = 70
_MARK: Final = "ledger"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one limit stands in its window: used, reserved by turns that run, and at which percent it ends."""

    limit: Limit
    window: Window
    used: int
    reserved: int
    percent: int
    ends_at_percent: int
    state: State


class Budgets:
    """See the module. For one event loop; ``desk`` is where turns reserve."""

    def __init__(self, settings: Settings, records: Records, audit: AuditLog, epoch_ms: Callable[[], int]) -> None:
        """Raises PriceSheetError, SettingsError."""
        self.settings = settings.budgets
        self.epoch_ms = epoch_ms
        self.store = _store(settings, records, epoch_ms)
        holder = f"{os.getpid()}-{uuid.uuid4().hex[:16]}"
        self.desk = BudgetDesk(self.store, holder, time.monotonic)
        self.rules = BudgetRules(settings.budgets, records, audit, time.monotonic)
        self.prices = Prices(price_book(settings), settings.budgets.currency)
        self.bursts = Bursts(settings.budgets.bursts, time.monotonic)
        self._tasks: asyncio.TaskGroup | None = None
        self._ending = False
        self._pruned_s = 0.0

    # --- for sessions ---

    def needs(self, rules: Rules, whose: Whose, mode: Mode, most: Amounts) -> list[Need]:
        """What of which account a turn that begins now may take, of those that are limited."""
        now_ms, found = self.epoch_ms(), list[Need]()
        for limit in rules.limits(whose.user_id):
            amount = most.of(limit.measure, self.prices.currency)
            if not applies(limit, mode):
                continue
            name = self._account(limit, whose, rules, now_ms)
            percent = rules.reach(limit.scope, whose, now_ms)
            found.append(Need(name, amount, cap(limit.amount, percent), limit, percent))
        return found

    def entry(self, event: UsageEvent, rules: Rules) -> Entry:
        """A usage event as the accounts count it: in the windows in which its turn began."""
        whose = Whose(event.tenant_id, event.user_id)
        amounts = accounts_of(whose, self.prices.used(event), event.started_at, rules.zones)
        replaces = None if event.corrects is None else _entry_id(event.tenant_id, event.corrects)
        return Entry(_entry_id(event.tenant_id, event.event_id), amounts, event.started_at, replaces)

    def start_soon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Have something done beside everything else; False where the server does not run (any more)."""
        if self._tasks is None or self._ending:
            return False
        self._tasks.create_task(_guarded(work))
        return True

    # --- for people ---

    async def standing(self, tenant_id: str, user_id: str) -> list[Standing]:
        """How every limit of a user's turns stands now. Raises RecordsError, BudgetStoreAway."""
        rules, whose, now_ms = await self.rules.of(tenant_id), Whose(tenant_id, user_id), self.epoch_ms()
        limits = rules.limits(user_id)
        names = [self._account(limit, whose, rules, now_ms) for limit in limits]
        balances = await self.desk.balances(names)
        return [
            self._stands(limit, balances[name], rules, whose, now_ms) for limit, name in zip(limits, names, strict=True)
        ]

    def _stands(self, limit: Limit, balance: Balance, rules: Rules, whose: Whose, now_ms: int) -> Standing:
        end = rules.reach(limit.scope, whose, now_ms)
        return Standing(
            limit,
            window(limit.period, now_ms, rules.zones.of(limit.scope)),
            balance.used,
            balance.others,
            used_percent(balance.used, limit.amount),
            end,
            state(balance.used, limit.amount, end),
        )

    def _account(self, limit: Limit, whose: Whose, rules: Rules, now_ms: int) -> str:
        measure = f"money:{self.prices.currency}" if limit.measure == "money" else limit.measure
        name = window(limit.period, now_ms, rules.zones.of(limit.scope)).name
        return account(limit.scope, whose, limit.period, name, measure)

    async def settle_person(self, _tenant_id: str, _user_id: str) -> None:
        """What was used is in the accounts now, and this process writes nothing more of it. Raises RecordsError."""
        try:
            await self.desk.tell()
        except BudgetStoreAway as away:
            raise RecordsUnavailable(str(away)) from away

    # --- tasks ---

    async def run(self, ledger: Ledger) -> None:
        """Tend the desk and keep the accounts true to the ledger, until cancelled."""
        try:
            # asyncio's own task group: work also begins from plain callbacks (a future is done); anyio's cannot.
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self.desk.run())
                while True:
                    try:
                        await self.catch_up(ledger)
                        await self._prune()
                    except (LedgerError, BudgetStoreAway, RecordsError) as error:
                        logger.warning("budgets cannot be counted now", extra={"reason": str(error)})
                    await anyio.sleep(CATCH_UP_S)
        finally:
            self._ending, self._tasks = True, None
            with anyio.CancelScope(shield=True), anyio.move_on_after(1.0):
                await self.store.aclose()

    async def catch_up(self, ledger: Ledger) -> int:
        """Count what is in the ledger and not in the accounts yet; how many events were looked at.

        Of a ledger that is older than its budgets, from the beginning of this month on. Raises LedgerError,
        BudgetStoreAway, RecordsError.
        """
        cursor, seen = await self.store.mark(_MARK), 0
        since = None if cursor is not None else months_before(self.epoch_ms(), 0) - DAY_MS
        query = UsageQuery(started_from=since, replaced=True)
        while True:
            page = await anyio.to_thread.run_sync(ledger.read, query, PageRequest(cursor=cursor, limit=PAGE))
            entries = [self.entry(event, await self.rules.of(event.tenant_id)) for event in page.events]
            if entries:
                await self.store.settle("", Settlement(entries))
                cursor = page.sequences[-1]
                await self.store.set_mark(_MARK, cursor)
            seen += len(entries)
            if page.cursor is None:
                return seen

    async def _prune(self) -> None:
        if time.monotonic() - self._pruned_s > PRUNE_S or not self._pruned_s:
            self._pruned_s = time.monotonic()
            await self.store.prune(self.epoch_ms() - KEPT_DAYS * DAY_MS)


async def _guarded(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await work()
    except Exception:
        logger.exception("work of the budgets failed")


def _entry_id(tenant_id: str, event_id: str) -> str:
    return f"{tenant_id}/{event_id}"


def _store(settings: Settings, records: Records, epoch_ms: Callable[[], int]) -> BudgetStore:
    if settings.budgets.redis_url is None:
        return SqlBudgets(records, epoch_ms)
    try:
        module: Any = import_module("metering.budgets.redis")
    except ImportError as error:
        raise SettingsError(
            ("budgets.redis_url needs Redis' client, which is not installed: uv sync --inexact --extra redis.",)
        ) from error
    return cast("BudgetStore", module.RedisBudgets(settings.budgets.redis_url.get_secret_value()))
