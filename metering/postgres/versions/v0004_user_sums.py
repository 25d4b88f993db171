"""Daily sums by person, beside those by agent. They are made from the events once every column is there."""

from alembic import op

from metering.user_sums import tables

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, empty."""
    for statement in tables("bigint", "text"):
        op.execute(statement)


def downgrade() -> None:
    """Facts are not thrown away by a migration."""
    raise NotImplementedError
