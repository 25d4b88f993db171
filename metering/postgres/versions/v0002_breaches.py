"""What was late in a turn and what was done about it, and what went to models in vain; none before."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; their defaults rewrite no row."""
    op.execute(
        "ALTER TABLE usage_events ADD COLUMN breaches jsonb NOT NULL DEFAULT '{}', "
        "ADD COLUMN overtaken_tokens bigint NOT NULL DEFAULT 0 CHECK (overtaken_tokens >= 0)"
    )


def downgrade() -> None:
    """Facts are not thrown away by a migration."""
    raise NotImplementedError
