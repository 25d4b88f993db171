"""How long data is kept, what may not go, who consented to recording, and what was asked about people's data.

Revision ID: privacy_0001
"""

import sqlalchemy as sa
from alembic import op

revision = "privacy_0001"
down_revision = None
branch_labels = ("privacy",)
depends_on = None


def upgrade() -> None:
    """The tables."""
    op.create_table(
        "retention_policies",
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("tenant_type", sa.Text, nullable=False),
        sa.Column("store", sa.Boolean, nullable=True),
        sa.Column("conversation_days", sa.BigInteger, nullable=True),
        sa.Column("usage_months", sa.BigInteger, nullable=True),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "legal_holds",
        sa.Column("hold_id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=True),
        sa.Column("session_id", sa.Text, nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("placed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("placed_by", sa.Text, nullable=False),
        sa.Column("lifted_at_ms", sa.BigInteger, nullable=True),
        sa.Column("lifted_by", sa.Text, nullable=True),
    )
    op.create_index("legal_holds_tenant", "legal_holds", ["tenant_id"])
    op.create_table(
        "recording_consents",
        sa.Column("consent_id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=True),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("wording", sa.Text, nullable=False),
        sa.Column("wording_version", sa.Text, nullable=False),
        sa.Column("locale", sa.Text, nullable=False),
        sa.Column("given_at_ms", sa.BigInteger, nullable=False),
        sa.Column("withdrawn_at_ms", sa.BigInteger, nullable=True),
    )
    op.create_index("recording_consents_user", "recording_consents", ["tenant_id", "user_id"])
    op.create_table(
        "privacy_jobs",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("pseudonym", sa.Text, nullable=False),
        sa.Column("asked_by_tenant", sa.Text, nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("due_at_ms", sa.BigInteger, nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger, nullable=True),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=True),
        sa.Column("result", sa.Text, nullable=False),
    )
    op.create_index("privacy_jobs_due", "privacy_jobs", ["state", "due_at_ms"])
    op.create_table(
        "privacy_export_parts",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Never. Raises NotImplementedError."""
    raise NotImplementedError("holds and consents are not taken back by a migration")
