"""Conversations and what was said in them.

Revision ID: conversations_0001
"""

import sqlalchemy as sa
from alembic import op

revision = "conversations_0001"
down_revision = None
branch_labels = ("conversations",)
depends_on = None


def upgrade() -> None:
    """The tables."""
    op.create_table(
        "conversations",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("tenant_type", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("transport", sa.Text, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("last_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
        sa.Column("lost", sa.BigInteger, nullable=False),
    )
    op.create_index("conversations_started", "conversations", ["tenant_id", "started_at_ms", "session_id"])
    op.create_index("conversations_last", "conversations", ["tenant_id", "last_at_ms"])
    op.create_index("conversations_user", "conversations", ["tenant_id", "user_id"])
    op.create_table(
        "conversation_entries",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("item_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("turn_id", sa.Text, nullable=True),
        sa.Column("speaker", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("interrupted", sa.Boolean, nullable=False),
        sa.Column("final", sa.Boolean, nullable=False),
        sa.Column("cues", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Never. Raises NotImplementedError."""
    raise NotImplementedError("conversations go by policy, not by a migration")
