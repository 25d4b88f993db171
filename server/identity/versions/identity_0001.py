"""Tenants, users, API keys, the keys that sign sessions, sessions that were ended early; and a count of changes.

Every change of a row that decides who may come in takes the next number and writes it into the row (``version``), in
one transaction: whoever has read up to a number finds what changed since by a larger one.

Revision ID: identity_0001
"""

import sqlalchemy as sa
from alembic import op

revision = "identity_0001"
down_revision = None
branch_labels = ("identity",)
depends_on = None


def upgrade() -> None:
    """The tables, and the first number."""
    op.create_table(
        "identity_version",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO identity_version (id, n) VALUES (1, 0)")
    op.create_table(
        "identity_tenants",
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("disabled_at_ms", sa.BigInteger),
        sa.Column("version", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "identity_users",
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False, index=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("login_name", sa.Text, unique=True),
        sa.Column("password", sa.Text),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("disabled_at_ms", sa.BigInteger),
        sa.Column("version", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "identity_api_keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False, index=True),
        sa.Column("user_id", sa.Text),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("permissions", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("revoked_at_ms", sa.BigInteger),
        sa.Column("last_used_at_ms", sa.BigInteger),
        sa.Column("version", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "identity_signing_keys",
        sa.Column("kid", sa.Text, primary_key=True),
        sa.Column("private_key", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "identity_ended_sessions",
        sa.Column("jti", sa.Text, primary_key=True),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False, index=True),
    )


def downgrade() -> None:
    """Never. Raises NotImplementedError."""
    raise NotImplementedError("keys and users are not taken back")
