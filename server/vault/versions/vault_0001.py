"""Provider keys of tenants, sealed or by their id in a Key Vault, and the master keys they are sealed with.

Revision ID: vault_0001
"""

import sqlalchemy as sa
from alembic import op

revision = "vault_0001"
down_revision = None
branch_labels = ("vault",)
depends_on = None


def upgrade() -> None:
    """The tables; ``vault_changes`` has one row for ever."""
    op.create_table(
        "provider_keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("rotated_at_ms", sa.BigInteger),
        sa.Column("checked_at_ms", sa.BigInteger),
        sa.Column("last_used_ms", sa.BigInteger),
        sa.Column("master_key_id", sa.Text),
        sa.Column("wrapped_key", sa.LargeBinary),
        sa.Column("body", sa.LargeBinary),
        sa.Column("secret_id", sa.Text),
    )
    op.create_index("provider_keys_tenant", "provider_keys", ["tenant_id", "created_at_ms"])
    op.create_index("provider_keys_master", "provider_keys", ["master_key_id"])
    op.create_table(
        "vault_master_keys",
        sa.Column("master_key_id", sa.Text, primary_key=True),
        sa.Column("check_value", sa.LargeBinary, nullable=False),
        sa.Column("is_primary", sa.Boolean, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )
    changes = op.create_table("vault_changes", sa.Column("n", sa.BigInteger, nullable=False))
    op.bulk_insert(changes, [{"n": 0}])
    one = sa.text("is_primary")
    op.create_index(
        "vault_one_primary", "vault_master_keys", ["is_primary"], unique=True, sqlite_where=one, postgresql_where=one
    )


def downgrade() -> None:
    """Never. Raises NotImplementedError."""
    raise NotImplementedError("provider keys are not taken back")
