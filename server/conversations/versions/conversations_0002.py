"""Recordings of conversations.

Revision ID: conversations_0002
"""

import sqlalchemy as sa
from alembic import op

revision = "conversations_0002"
down_revision = "conversations_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The table."""
    op.create_table(
        "conversation_recordings",
        sa.Column("recording_id", sa.Text, primary_key=True),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("consent_id", sa.Text, nullable=False),
        sa.Column("rate_hz", sa.BigInteger, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
        sa.Column("duration_ms", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("ending", sa.Text, nullable=False),
    )
    op.create_index("conversation_recordings_session", "conversation_recordings", ["session_id"], unique=True)


def downgrade() -> None:
    """Never. Raises NotImplementedError."""
    raise NotImplementedError("recordings go by policy, not by a migration")
