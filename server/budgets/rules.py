"""Whose limits are what: the records of limits, policies and overrides, over the settings' defaults.

Reads all that concerns one tenant at once, and keeps it for a few seconds; every change is audited in its own
transaction. Counts nothing. Owned by ``server.budgets.service``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy import Connection

from metering.budgets.limits import Limit, Measure, Override, Period, Scope, Whose, Zones, reach, user_accounts
from metering.budgets.sql import forget_accounts
from metering.records import Records, RecordsError
from metering.records.upsert import upsert
from server.audit import AuditEntry, AuditLog
from server.budget_settings import BudgetSettings, Consent, zone
from server.ids import new_id

KEPT_S: Final = 5.0
"""How old what is known of a tenant may be: a change reaches every server within that time."""
STALE_S: Final = 600.0
"""How old it may be while the records cannot be read."""
MOST_TENANTS: Final = 4_096
ANYBODY: Final = "*"
"""As ``user_id`` of a limit: each user of the tenant that has none of their own."""

_meta = sa.MetaData()
_limits = sa.Table(
    "budget_limits",
    _meta,
    *(sa.Column(name, sa.Text, primary_key=True) for name in ("scope", "tenant_id", "user_id", "period", "measure")),
    sa.Column("amount", sa.BigInteger),
)
_policies = sa.Table(
    "budget_policies",
    _meta,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("consent", sa.Text),
    sa.Column("time_zone", sa.Text),
)
_overrides = sa.Table(
    "budget_overrides",
    _meta,
    sa.Column("override_id", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Text) for name in ("scope", "tenant_id", "user_id")),
    sa.Column("percent", sa.Integer),
    sa.Column("until_ms", sa.BigInteger),
    sa.Column("reason", sa.Text),
)


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A limit is to be so much from now on; ``amount`` ``None``: there is to be none, whatever the defaults are."""

    scope: Scope
    user_id: str
    period: Period
    measure: Measure
    amount: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """All that concerns one tenant, as it was read."""

    consent: Consent
    zones: Zones
    time_zone: str
    overrides: tuple[Override, ...]
    _amounts: Mapping[tuple[str, str, str, str], int | None]
    _defaults: Mapping[tuple[str, str, str], int]
    _names: tuple[tuple[str, str, str], ...] = field(init=False)
    """What anybody's limits are about, in their order: a tenant may have as many limits as users."""

    def __post_init__(self) -> None:
        names = {(scope, period, measure) for scope, _, period, measure in self._amounts} | set(self._defaults)
        object.__setattr__(self, "_names", tuple(sorted(names)))

    def limits(self, user_id: str) -> list[Limit]:
        """The limits of one of its users' turns: theirs, the tenant's and everybody's."""
        found: list[Limit] = []
        for scope, period, measure in self._names:
            whose = (user_id, ANYBODY) if scope == "user" else ("",)
            amount = self._defaults.get((scope, period, measure))
            for name in whose:
                if (scope, name, period, measure) in self._amounts:
                    amount = self._amounts[scope, name, period, measure]
                    break
            if amount is not None:
                found.append(Limit(cast("Scope", scope), cast("Period", period), cast("Measure", measure), amount))
        return found

    def reach(self, scope: Scope, whose: Whose, now_ms: int) -> int:
        """Up to which percent of its limits a scope may go now."""
        return reach(scope, whose, self.overrides, now_ms)


class BudgetRules:
    """See the module. For one event loop."""

    def __init__(self, settings: BudgetSettings, records: Records, audit: AuditLog, now_s: Callable[[], float]) -> None:
        self._settings = settings
        self._records = records
        self._audit = audit
        self._now_s = now_s
        self._server_zone: tzinfo = zone(settings.time_zone)
        self._known: OrderedDict[str, tuple[float, Rules]] = OrderedDict()
        self._defaults = {
            (limit.scope, limit.period, limit.measure): limit.amount
            for limit in (each.limit for each in settings.limits)
        }

    def known(self, tenant_id: str) -> Rules | None:
        """What was read lately; ``None``: it has to be read."""
        read_s, rules = self._known.get(tenant_id, (0.0, None))
        return rules if self._now_s() - read_s < KEPT_S else None

    async def of(self, tenant_id: str) -> Rules:
        """What concerns a tenant. Raises RecordsError where it was not read for long and cannot be read now."""
        if (rules := self.known(tenant_id)) is not None:
            return rules
        try:
            rules = await self._records.run_read(lambda connection: self._read(connection, tenant_id))
        except RecordsError:
            read_s, before = self._known.get(tenant_id, (0.0, None))
            if before is not None and self._now_s() - read_s < STALE_S:
                return before
            raise
        self._known[tenant_id] = (self._now_s(), rules)
        self._known.move_to_end(tenant_id)
        if len(self._known) > MOST_TENANTS:
            self._known.popitem(last=False)
        return rules

    async def change(self, changes: tuple[LimitChange, ...], entry: AuditEntry) -> None:
        """Set limits. Raises RecordsError."""

        def work(connection: Connection) -> None:
            for change in changes:
                tenant_id = "" if change.scope == "global" else entry.tenant_id
                key = {
                    "scope": change.scope,
                    "tenant_id": tenant_id,
                    "user_id": change.user_id if change.scope == "user" else "",
                    "period": change.period,
                    "measure": change.measure,
                }
                upsert(connection, _limits, [{**key, "amount": change.amount}], ["amount"])
            self._audit.append(connection, entry)

        await self._changed(work)

    async def set_policy(self, consent: Consent | None, time_zone: str | None, entry: AuditEntry) -> None:
        """Say whether the tenant's users are asked, and whose midnight ends its days; ``None``: as it is. Raises
        RecordsError."""

        def work(connection: Connection) -> None:
            wanted = {"consent": consent, "time_zone": time_zone}
            changed = [name for name, value in wanted.items() if value is not None]
            upsert(connection, _policies, [{"tenant_id": entry.tenant_id, **wanted}], changed)
            self._audit.append(connection, entry)

        await self._changed(work)

    async def override(self, override: Override, entry: AuditEntry) -> None:
        """Let a scope go on for a while. Raises RecordsError."""

        def work(connection: Connection) -> None:
            there = _overrides.c.override_id == override.override_id
            if connection.execute(sa.select(_overrides.c.override_id).where(there)).first() is not None:
                return  # done before, by a call that ran into its limit
            row = {column.name: getattr(override, column.name) for column in _overrides.c}
            connection.execute(_overrides.insert().values(row))
            self._audit.append(connection, entry)

        await self._changed(work)

    async def end_override(self, override_id: str, now_ms: int, entry: AuditEntry, everybodys: bool) -> bool:
        """End an override of the entry's tenant (or everybody's) now; whether there was one. Raises RecordsError."""

        def work(connection: Connection) -> bool:
            whose = _overrides.c.tenant_id.in_((entry.tenant_id, "") if everybodys else (entry.tenant_id,))
            mine = sa.and_(_overrides.c.override_id == override_id, whose, _overrides.c.until_ms > now_ms)
            ended = connection.execute(_overrides.update().where(mine).values(until_ms=now_ms)).rowcount
            if ended:
                self._audit.append(connection, entry)
            return bool(ended)

        return await self._changed(work)

    async def _changed(self, work: Callable[[Connection], Any]) -> Any:
        result = await self._records.run_write(work)
        self._known.clear()
        return result

    def _read(self, connection: Connection, tenant_id: str) -> Rules:
        mine = (tenant_id, "")
        limits = connection.execute(sa.select(_limits).where(_limits.c.tenant_id.in_(mine))).all()
        policy = connection.execute(sa.select(_policies).where(_policies.c.tenant_id == tenant_id)).mappings().first()
        overrides = connection.execute(sa.select(_overrides).where(_overrides.c.tenant_id.in_(mine))).mappings().all()
        chosen = dict(policy or {})
        name: str = chosen.get("time_zone") or self._settings.time_zone
        return Rules(
            chosen.get("consent") or self._settings.consent,
            Zones(self._server_zone, zone(name)),
            name,
            tuple(Override(**dict(row)) for row in overrides),
            {(row.scope, row.user_id, row.period, row.measure): row.amount for row in limits},
            self._defaults,
        )


def new_override_id() -> str:
    """A name no other override has."""
    return new_id("ovr")


def forget_person(connection: sa.Connection, tenant_id: str, user_id: str, _pseudonym: str) -> None:
    """Nothing of a person who is deleted: their own limits and overrides, and the accounts that bear their name.

    Accounts in Redis stay until they are old; what is counted for tenants stays.
    """
    for table in (_limits, _overrides):
        mine = (table.c.tenant_id == tenant_id) & (table.c.user_id == user_id)
        connection.execute(table.delete().where(table.c.scope == "user", mine))
    forget_accounts(connection, user_accounts(Whose(tenant_id, user_id)))
