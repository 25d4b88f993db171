"""The vault's tables in the records: provider keys as they are now, and the master keys they are sealed with."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from metering.records import Area

VAULT: Final = Area("vault", "server.vault.versions", "vault_0001")

_metadata = sa.MetaData()

KEYS: Final = sa.Table(
    "provider_keys",
    _metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text),
    sa.Column("provider", sa.Text),
    sa.Column("label", sa.Text),
    sa.Column("place", sa.Text),
    sa.Column("version", sa.BigInteger),
    sa.Column("fingerprint", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("created_by", sa.Text),
    sa.Column("created_at_ms", sa.BigInteger),
    sa.Column("rotated_at_ms", sa.BigInteger),
    sa.Column("checked_at_ms", sa.BigInteger),
    sa.Column("last_used_ms", sa.BigInteger),
    sa.Column("master_key_id", sa.Text),
    sa.Column("wrapped_key", sa.LargeBinary),
    sa.Column("body", sa.LargeBinary),
    sa.Column("secret_id", sa.Text),
)
"""Either ``master_key_id``, ``wrapped_key`` and ``body``, or ``secret_id`` (of the Key Vault)."""

MASTERS: Final = sa.Table(
    "vault_master_keys",
    _metadata,
    sa.Column("master_key_id", sa.Text, primary_key=True),
    sa.Column("check_value", sa.LargeBinary),
    sa.Column("is_primary", sa.Boolean),
    sa.Column("created_at_ms", sa.BigInteger),
)
"""One is primary: what is sealed now is sealed with it, whatever keys a server holds."""

CHANGES: Final = sa.Table("vault_changes", _metadata, sa.Column("n", sa.BigInteger))
"""One row, one number: it grows with every change of a key."""
