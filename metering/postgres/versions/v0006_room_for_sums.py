"""Room in the pages of sums: they are counted up in place, without an entry in any index.

PostgreSQL 15, chapter 73.7 (heap-only tuples). Pages that are full stay as they are.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave some of each new page free."""
    for table in ("usage_daily", "usage_amounts", "usage_users_daily", "usage_users_amounts"):
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 70)")


def downgrade() -> None:
    """Facts are not thrown away by a migration."""
    raise NotImplementedError
