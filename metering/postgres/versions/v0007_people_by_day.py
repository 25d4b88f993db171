"""Sums by person are found by day and person, so that a few people's are read without everybody's."""

from alembic import op

from metering.user_sums import INDEXES_BY_PERSON

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes in place of those by day alone."""
    for statement in INDEXES_BY_PERSON:
        op.execute(statement)


def downgrade() -> None:
    """Facts are not thrown away by a migration."""
    raise NotImplementedError
