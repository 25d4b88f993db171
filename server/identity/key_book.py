"""API keys: made, listed and revoked. A key is told once, when it is made; what is kept is its SHA-256."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from server.audit import AuditEntry
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity
from server.identity.authority import key_permissions, require_no_more, role_permissions
from server.identity.desk import PAGE, Desk, not_found
from server.identity.entries import KeyEntry, fresh_id
from server.identity.keys import Environment, digest_of, hint_of, new_key
from server.identity.tables import api_keys, users
from server.permissions import Permission, Role
from server.tenant_settings import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made: for a user (whose role it then has), or for a program with a role of its own."""

    tenant_id: str
    name: str
    role: Role = "service"
    user_id: str | None = None
    permissions: tuple[Permission, ...] | None = None
    agent_id: str | None = None
    environment: Environment = "live"
    expires_at_ms: int | None = None


class KeyBook:
    """See the module."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(
        self, tenant_id: str | None, after: str = "", limit: int = PAGE, *, revoked: bool = False
    ) -> tuple[KeyEntry, ...]:
        """A tenant's keys (``None``: everybody's) behind an id, in order. Raises RecordsError."""
        question = sa.select(api_keys).where(api_keys.c.key_id > after).order_by(api_keys.c.key_id).limit(limit)
        if tenant_id is not None:
            question = question.where(api_keys.c.tenant_id == tenant_id)
        if not revoked:
            question = question.where(api_keys.c.revoked_at_ms.is_(None))
        rows = await self._desk.records.run_read(lambda connection: connection.execute(question).mappings().all())
        return tuple(KeyEntry.of(row) for row in rows)

    async def create(self, actor: Identity, wanted: NewKey, request_id: str = "") -> tuple[KeyEntry, str]:
        """A new key, and what it is: never to be had again. Raises Refused, RecordsError."""
        if wanted.expires_at_ms is not None and wanted.expires_at_ms <= self._desk.epoch_ms():
            raise Refused(ErrorCode.REQUEST_INVALID, "The key would have expired already.")
        value = new_key(wanted.environment)
        entry = await self._desk.write(
            lambda connection, number: self._insert(connection, number, actor, wanted, value, request_id)
        )
        return entry, value

    async def create_first(self, actor: Identity) -> str | None:
        """The key of a server that nobody can enter yet: an operator's. ``None`` where there are keys or users."""
        value, wanted = new_key("live"), NewKey(DEFAULT_TENANT, "first", role="owner")

        def work(connection: sa.Connection, number: int) -> bool:
            for table in (api_keys, users):
                if connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one():
                    return False
            self._insert(connection, number, actor, wanted, value, "")
            return True

        return value if await self._desk.write(work) else None

    async def revoke(self, actor: Identity, key_id: str, *, tenant_id: str | None, request_id: str = "") -> KeyEntry:
        """End a key of this tenant (``None``: of any); a second time changes nothing. Raises Refused, RecordsError."""
        desk = self._desk

        def work(connection: sa.Connection, number: int) -> KeyEntry:
            mine = api_keys.c.key_id == key_id
            row = connection.execute(sa.select(api_keys).where(mine).with_for_update()).mappings().first()
            if row is None or tenant_id not in (None, row["tenant_id"]):
                not_found("key")
            if row["revoked_at_ms"] is None:
                values = {"revoked_at_ms": desk.epoch_ms(), "version": number}
                connection.execute(api_keys.update().where(mine).values(values))
                entry = AuditEntry(actor, "api_key.revoked", row["tenant_id"], key_id, {}, request_id)
                desk.audit.append(connection, entry)
            return _entry(connection, key_id)

        return await desk.write(work)

    async def used(self, at_ms: dict[str, int]) -> None:
        """Write down when keys were last used; never back in time. Raises RecordsError."""

        def work(connection: sa.Connection) -> None:
            for key_id, when_ms in sorted(at_ms.items()):
                seen = api_keys.c.last_used_at_ms
                later = sa.or_(seen.is_(None), seen < when_ms)
                statement = api_keys.update().where(api_keys.c.key_id == key_id, later)
                connection.execute(statement.values(last_used_at_ms=when_ms))

        await self._desk.records.run_write(work)

    def _insert(
        self, connection: sa.Connection, number: int, actor: Identity, wanted: NewKey, value: str, request_id: str
    ) -> KeyEntry:
        desk, key_id = self._desk, fresh_id("key")
        desk.tenant(connection, wanted.tenant_id)
        role = wanted.role if wanted.user_id is None else _role_of(connection, wanted)
        _check_narrowing(wanted, role)
        held = key_permissions(wanted.tenant_id, role, wanted.permissions, wanted.environment)
        require_no_more(actor, held, wanted.agent_id)
        row: dict[str, Any] = {
            "key_id": key_id,
            "tenant_id": wanted.tenant_id,
            "user_id": wanted.user_id,
            "role": role,
            "permissions": None if wanted.permissions is None else json.dumps(sorted(wanted.permissions)),
            "agent_id": wanted.agent_id,
            "name": wanted.name,
            "environment": wanted.environment,
            "hash": digest_of(value),
            "hint": hint_of(value),
            "created_at_ms": desk.epoch_ms(),
            "expires_at_ms": wanted.expires_at_ms,
            "revoked_at_ms": None,
            "last_used_at_ms": None,
            "version": number,
        }
        connection.execute(api_keys.insert().values(row))
        details = {
            "role": role,
            "environment": wanted.environment,
            "user_id": wanted.user_id,
            "agent_id": wanted.agent_id,
            "permissions": sorted(held),
            "expires_at_ms": wanted.expires_at_ms,
        }
        desk.audit.append(
            connection, AuditEntry(actor, "api_key.created", wanted.tenant_id, key_id, details, request_id)
        )
        return _entry(connection, key_id)


def _check_narrowing(wanted: NewKey, role: Role) -> None:
    """A permission that the role lacks cannot be had by naming it; better said than left out in silence."""
    lacking = sorted(frozenset(wanted.permissions or ()) - role_permissions(wanted.tenant_id, role))
    if lacking:
        raise Refused(ErrorCode.REQUEST_INVALID, f"The role {role} does not have the permission {lacking[0]}.")


def _role_of(connection: sa.Connection, wanted: NewKey) -> Role:
    question = sa.select(users.c.role, users.c.tenant_id).where(
        users.c.user_id == wanted.user_id, users.c.disabled_at_ms.is_(None)
    )
    row = connection.execute(question).first()
    if row is None or row.tenant_id != wanted.tenant_id:
        not_found("user")
    return row.role


def _entry(connection: sa.Connection, key_id: str) -> KeyEntry:
    return KeyEntry.of(connection.execute(sa.select(api_keys).where(api_keys.c.key_id == key_id)).mappings().one())
