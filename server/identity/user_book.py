"""Users: who belongs to a tenant, in which role, and by which name they log in.

Nobody makes or changes a user who may do more than they. Whatever ends a password's worth (a new one, or the user's
being disabled) takes the next ``generation``, and the sessions begun with the old one end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from server.audit import AuditEntry
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity
from server.identity.authority import require_no_more, role_permissions
from server.identity.desk import PAGE, Desk, not_found
from server.identity.entries import UserEntry, fresh_id
from server.identity.tables import users
from server.permissions import Role


@dataclass(frozen=True, slots=True)
class NewUser:
    """``password`` is as ``passwords.hash_password`` gives it."""

    tenant_id: str
    role: Role
    name: str
    login_name: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class UserChange:
    """What is to be different; ``None`` leaves a thing as it is. ``password`` is hashed."""

    role: Role | None = None
    name: str | None = None
    password: str | None = None
    disabled: bool | None = None


def login_name_of(given: str) -> str:
    """A login name as it is kept and compared: without regard to case."""
    return given.strip().casefold()


class UserBook:
    """See the module."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, tenant_id: str | None, after: str = "", limit: int = PAGE) -> tuple[UserEntry, ...]:
        """A tenant's users (``None``: everybody's) behind an id, in order. Raises RecordsError."""
        question = sa.select(users).where(users.c.user_id > after).order_by(users.c.user_id).limit(limit)
        if tenant_id is not None:
            question = question.where(users.c.tenant_id == tenant_id)
        rows = await self._desk.records.run_read(lambda connection: connection.execute(question).mappings().all())
        return tuple(UserEntry.of(row) for row in rows)

    async def create(self, actor: Identity, wanted: NewUser, request_id: str = "") -> UserEntry:
        """A new user. Raises Refused, RecordConflict where the login name is taken, RecordsError."""
        desk = self._desk
        require_no_more(actor, role_permissions(wanted.tenant_id, wanted.role), actor.agent_id)
        user_id, now_ms = fresh_id("usr"), desk.epoch_ms()
        name = None if wanted.login_name is None else login_name_of(wanted.login_name)
        if (name is None) != (wanted.password is None):
            raise Refused(ErrorCode.REQUEST_INVALID, "A login name needs a password, and a password a login name.")

        def work(connection: sa.Connection, number: int) -> UserEntry:
            tenant = desk.tenant(connection, wanted.tenant_id)
            if tenant.type == "consumer" and _has_users(connection, wanted.tenant_id):
                raise Refused(ErrorCode.REQUEST_INVALID, "A tenant of type consumer is one person.")
            row: dict[str, Any] = {
                "user_id": user_id,
                "tenant_id": wanted.tenant_id,
                "role": wanted.role,
                "name": wanted.name,
                "login_name": name,
                "password": wanted.password,
                "generation": 1,
                "created_at_ms": now_ms,
                "disabled_at_ms": None,
                "version": number,
            }
            connection.execute(users.insert().values(row))
            details = {"role": wanted.role, "login": name is not None}
            entry = AuditEntry(actor, "user.created", wanted.tenant_id, user_id, details, request_id)
            desk.audit.append(connection, entry)
            return _entry(connection, user_id)

        return await desk.write(work)

    async def change(
        self, actor: Identity, user_id: str, change: UserChange, *, tenant_id: str | None, request_id: str = ""
    ) -> UserEntry:
        """Change a user, who must be of this tenant (``None``: any). Raises Refused, RecordsError."""
        desk = self._desk

        def work(connection: sa.Connection, number: int) -> UserEntry:
            mine = users.c.user_id == user_id
            row = connection.execute(sa.select(users).where(mine).with_for_update()).mappings().first()
            if row is None or tenant_id not in (None, row["tenant_id"]):
                not_found("user")
            home: str = row["tenant_id"]
            require_no_more(actor, role_permissions(home, row["role"]), actor.agent_id)
            require_no_more(actor, role_permissions(home, change.role or row["role"]), actor.agent_id)
            connection.execute(users.update().where(mine).values(_changed(row, change, desk.epoch_ms(), number)))
            said = {
                "role": change.role,
                "disabled": change.disabled,
                "renamed": change.name is not None or None,
                "password": "new" if change.password is not None else None,
            }
            details = {key: value for key, value in said.items() if value is not None}
            desk.audit.append(connection, AuditEntry(actor, "user.changed", home, user_id, details, request_id))
            return _entry(connection, user_id)

        return await desk.write(work)


def _changed(row: sa.RowMapping, change: UserChange, now_ms: int, number: int) -> dict[str, Any]:
    if change.password is not None and row["login_name"] is None:
        raise Refused(ErrorCode.REQUEST_INVALID, "This user has no login name, so no password either.")
    values: dict[str, Any] = {"version": number}
    if change.role is not None:
        values["role"] = change.role
    if change.name is not None:
        values["name"] = change.name
    if change.password is not None:
        values["password"] = change.password
    if change.disabled is not None:
        values["disabled_at_ms"] = (row["disabled_at_ms"] or now_ms) if change.disabled else None
    if change.password is not None or change.disabled:
        values["generation"] = row["generation"] + 1
    return values


def _has_users(connection: sa.Connection, tenant_id: str) -> bool:
    question = sa.select(sa.func.count()).select_from(users).where(users.c.tenant_id == tenant_id)
    return bool(connection.execute(question).scalar_one())


def _entry(connection: sa.Connection, user_id: str) -> UserEntry:
    row = connection.execute(sa.select(users).where(users.c.user_id == user_id)).mappings().one()
    return UserEntry.of(row)
