"""Tenants, users and API keys as they stand in the database, without what is secret about them; and how rows are read.

Pure values. Statements are in the books (``tenant_book``, ``user_book``, ``key_book``).
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from server.identity.keys import Environment
from server.permissions import Permission, Role, TenantType

Source = Literal["settings", "database"]


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """One tenant. Those of the settings were made at no time (0)."""

    tenant_id: str
    type: TenantType
    name: str
    source: Source
    created_at_ms: int = 0
    disabled_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UserEntry:
    """One person or program of a tenant. ``has_password`` tells whether they can log in by name."""

    user_id: str
    tenant_id: str
    role: Role
    name: str
    login_name: str | None
    has_password: bool
    created_at_ms: int
    disabled_at_ms: int | None

    @classmethod
    def of(cls, row: sa.RowMapping) -> UserEntry:
        """From a row of ``users``."""
        return cls(
            user_id=row["user_id"],
            tenant_id=row["tenant_id"],
            role=row["role"],
            name=row["name"],
            login_name=row["login_name"],
            has_password=row["password"] is not None,
            created_at_ms=row["created_at_ms"],
            disabled_at_ms=row["disabled_at_ms"],
        )


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One API key. ``permissions`` are those it is narrowed to (``None``: all of its role's)."""

    key_id: str
    tenant_id: str
    user_id: str | None
    role: Role
    permissions: tuple[Permission, ...] | None
    agent_id: str | None
    name: str
    environment: Environment
    hint: str
    created_at_ms: int
    expires_at_ms: int | None
    revoked_at_ms: int | None
    last_used_at_ms: int | None

    @classmethod
    def of(cls, row: sa.RowMapping) -> KeyEntry:
        """From a row of ``api_keys``."""
        return cls(
            key_id=row["key_id"],
            tenant_id=row["tenant_id"],
            user_id=row["user_id"],
            role=row["role"],
            permissions=narrowed(row["permissions"]),
            agent_id=row["agent_id"],
            name=row["name"],
            environment=row["environment"],
            hint=row["hint"],
            created_at_ms=row["created_at_ms"],
            expires_at_ms=row["expires_at_ms"],
            revoked_at_ms=row["revoked_at_ms"],
            last_used_at_ms=row["last_used_at_ms"],
        )


def narrowed(text: str | None) -> tuple[Permission, ...] | None:
    """Permissions as they are kept: a JSON array. Names this program does not know permit nothing."""
    if text is None:
        return None
    names: list[Any] = json.loads(text)
    known = {str(each): each for each in Permission}
    return tuple(known[name] for name in names if name in known)


def fresh_id(kind: str) -> str:
    """An id such as ``usr_4f…``: unguessable, of letters that every place takes."""
    return f"{kind}_{secrets.token_hex(8)}"
