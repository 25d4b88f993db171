"""The tables of tenants, users, keys and sessions, and the number that every change of them takes. See ``versions``."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from metering.records import Area

IDENTITY: Final = Area("identity", "server.identity.versions", "identity_0001")
_META: Final = sa.MetaData()

version = sa.Table("identity_version", _META, sa.Column("id", sa.BigInteger), sa.Column("n", sa.BigInteger))

tenants = sa.Table(
    "identity_tenants",
    _META,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("type", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("created_at_ms", sa.BigInteger),
    sa.Column("disabled_at_ms", sa.BigInteger),
    sa.Column("version", sa.BigInteger),
)
users = sa.Table(
    "identity_users",
    _META,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text),
    sa.Column("role", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("login_name", sa.Text),
    sa.Column("password", sa.Text),
    sa.Column("generation", sa.BigInteger),
    sa.Column("created_at_ms", sa.BigInteger),
    sa.Column("disabled_at_ms", sa.BigInteger),
    sa.Column("version", sa.BigInteger),
)
api_keys = sa.Table(
    "identity_api_keys",
    _META,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("role", sa.Text),
    sa.Column("permissions", sa.Text),
    sa.Column("agent_id", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("environment", sa.Text),
    sa.Column("hash", sa.Text),
    sa.Column("hint", sa.Text),
    sa.Column("created_at_ms", sa.BigInteger),
    sa.Column("expires_at_ms", sa.BigInteger),
    sa.Column("revoked_at_ms", sa.BigInteger),
    sa.Column("last_used_at_ms", sa.BigInteger),
    sa.Column("version", sa.BigInteger),
)
signing_keys = sa.Table(
    "identity_signing_keys",
    _META,
    sa.Column("kid", sa.Text, primary_key=True),
    sa.Column("private_key", sa.Text),
    sa.Column("created_at_ms", sa.BigInteger),
)
ended_sessions = sa.Table(
    "identity_ended_sessions",
    _META,
    sa.Column("jti", sa.Text, primary_key=True),
    sa.Column("expires_at_ms", sa.BigInteger),
    sa.Column("version", sa.BigInteger),
)


def take_number(connection: sa.Connection) -> int:
    """The next number of a change. Whoever takes one is alone until their transaction ends: numbers come in order."""
    connection.execute(version.update().values(n=version.c.n + 1))
    return current_number(connection)


def current_number(connection: sa.Connection) -> int:
    """The number of the newest change."""
    return int(connection.execute(sa.select(version.c.n)).scalar_one())
