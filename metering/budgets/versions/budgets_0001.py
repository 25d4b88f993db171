"""Budgets: limits, policies, overrides; and for servers that count in this database, accounts, holds and entries."""

import sqlalchemy as sa
from alembic import op

revision = "budgets_0001"
down_revision = None
branch_labels = ("budgets",)
depends_on = None


def upgrade() -> None:
    """The tables."""
    op.create_table(
        "budget_limits",
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("period", sa.Text, primary_key=True),
        sa.Column("measure", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=True),
    )
    op.create_table(
        "budget_policies",
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("consent", sa.Text, nullable=True),
        sa.Column("time_zone", sa.Text, nullable=True),
    )
    op.create_table(
        "budget_overrides",
        sa.Column("override_id", sa.Text, primary_key=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "budget_accounts",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("touched_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "budget_holds",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("budget_holds_holder", "budget_holds", ["holder"])
    op.create_table(
        "budget_entries",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("amounts", sa.Text, nullable=False),
    )
    op.create_index("budget_entries_at", "budget_entries", ["at_ms"])
    op.create_table(
        "budget_marks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Never. Raises NotImplementedError."""
    raise NotImplementedError("what was counted is not forgotten")
