"""How somebody agreed to be recorded.

Revision ID: privacy_0002
"""

import sqlalchemy as sa
from alembic import op

revision = "privacy_0002"
down_revision = "privacy_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column beside the words that were agreed to."""
    op.add_column("recording_consents", sa.Column("answer", sa.Text, nullable=True))


def downgrade() -> None:
    """Never. Raises NotImplementedError."""
    raise NotImplementedError("holds and consents are not taken back by a migration")
