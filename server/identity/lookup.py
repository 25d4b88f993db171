"""Questions to the database: whose a key or a session is now, and what changed since a number.

Functions of a connection. Whose something is is read after the number, so that a change in between is found later by
its larger one; see ``server.identity.callers``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from server.identity.keys import Environment
from server.identity.tables import api_keys, current_number, ended_sessions, tenants, users
from server.permissions import Role, TenantType

_KEY: Final = (
    sa.select(
        api_keys.c.key_id,
        api_keys.c.tenant_id,
        api_keys.c.user_id,
        sa.func.coalesce(users.c.role, api_keys.c.role).label("role"),
        api_keys.c.permissions,
        api_keys.c.agent_id,
        api_keys.c.environment,
        api_keys.c.expires_at_ms,
        tenants.c.type,
    )
    .select_from(
        api_keys.outerjoin(users, users.c.user_id == api_keys.c.user_id).outerjoin(
            tenants, tenants.c.tenant_id == api_keys.c.tenant_id
        )
    )
    .where(
        api_keys.c.revoked_at_ms.is_(None),
        sa.or_(api_keys.c.user_id.is_(None), users.c.user_id.is_not(None)),
        users.c.disabled_at_ms.is_(None),
        tenants.c.disabled_at_ms.is_(None),
    )
)
_USER: Final = (
    sa.select(users.c.user_id, users.c.tenant_id, users.c.role, users.c.generation, users.c.password, tenants.c.type)
    .select_from(users.outerjoin(tenants, tenants.c.tenant_id == users.c.tenant_id))
    .where(users.c.disabled_at_ms.is_(None), tenants.c.disabled_at_ms.is_(None))
)


@dataclass(frozen=True, slots=True)
class KeyFound:
    """A key that opens; ``tenant_type`` is ``None`` where the tenant is not in the database."""

    key_id: str
    tenant_id: str
    user_id: str | None
    role: Role
    permissions: str | None
    agent_id: str | None
    environment: Environment
    expires_at_ms: int | None
    tenant_type: TenantType | None


@dataclass(frozen=True, slots=True)
class UserFound:
    """A user who may come in. ``password`` is its hash."""

    user_id: str
    tenant_id: str
    role: Role
    generation: int
    password: str | None = field(repr=False)
    tenant_type: TenantType | None


def key_by_digest(connection: sa.Connection, digest: str) -> KeyFound | None:
    """The key with this SHA-256, unless it was revoked or its user or tenant is disabled. Its expiry is not judged."""
    return _key(connection, api_keys.c.hash == digest)


def key_by_id(connection: sa.Connection, key_id: str) -> KeyFound | None:
    """The key of this id, judged likewise."""
    return _key(connection, api_keys.c.key_id == key_id)


def user_by_id(connection: sa.Connection, user_id: str) -> UserFound | None:
    """The user, unless they or their tenant are disabled."""
    return _user(connection, users.c.user_id == user_id)


def user_by_login(connection: sa.Connection, login_name: str) -> UserFound | None:
    """The user who logs in by this name, judged likewise."""
    return _user(connection, users.c.login_name == login_name)


def session_ended(connection: sa.Connection, jti: str) -> bool:
    """Whether the session was ended before its time."""
    return connection.execute(sa.select(ended_sessions.c.jti).where(ended_sessions.c.jti == jti)).first() is not None


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed up to ``number``: ids, each with whether it still opens (and a user's generation)."""

    number: int
    keys: dict[str, bool] = field(default_factory=dict[str, bool])
    users: dict[str, tuple[bool, int]] = field(default_factory=dict[str, tuple[bool, int]])
    tenants: dict[str, bool] = field(default_factory=dict[str, bool])
    sessions: frozenset[str] = frozenset()

    @property
    def any(self) -> bool:
        """Whether there are any that matter to who may come in."""
        return bool(self.keys or self.users or self.tenants or self.sessions)


def changes_since(connection: sa.Connection, number: int) -> Changes:
    """What changed after ``number``."""
    current = current_number(connection)
    if current == number:
        return Changes(number)

    def rows(*columns: sa.Column[Any], table: sa.Table) -> list[Any]:
        question = sa.select(*columns).where(table.c.version > number)
        return [*connection.execute(question).mappings()]

    keys = rows(api_keys.c.key_id, api_keys.c.revoked_at_ms, table=api_keys)
    people = rows(users.c.user_id, users.c.disabled_at_ms, users.c.generation, table=users)
    places = rows(tenants.c.tenant_id, tenants.c.disabled_at_ms, table=tenants)
    ended = rows(ended_sessions.c.jti, table=ended_sessions)
    return Changes(
        current,
        {row["key_id"]: row["revoked_at_ms"] is None for row in keys},
        {row["user_id"]: (row["disabled_at_ms"] is None, row["generation"]) for row in people},
        {row["tenant_id"]: row["disabled_at_ms"] is None for row in places},
        frozenset(row["jti"] for row in ended),
    )


def _key(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> KeyFound | None:
    row = connection.execute(_KEY.where(condition)).first()
    return None if row is None else KeyFound(*row)


def _user(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> UserFound | None:
    row = connection.execute(_USER.where(condition)).first()
    return None if row is None else UserFound(*row)
