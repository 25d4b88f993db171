"""The tables of retention, holds, consents and privacy jobs. Data only; the modules of this package work on them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from metering.records import Area

PRIVACY: Final = Area("privacy", "server.privacy.versions", "privacy_0002")
_METADATA: Final = sa.MetaData()

policies: Final = sa.Table(
    "retention_policies",
    _METADATA,
    sa.Column("tenant_id", sa.Text, primary_key=True),
    sa.Column("tenant_type", sa.Text),
    sa.Column("store", sa.Boolean),
    sa.Column("conversation_days", sa.BigInteger),
    sa.Column("usage_months", sa.BigInteger),
    sa.Column("changed_at_ms", sa.BigInteger),
)
holds: Final = sa.Table(
    "legal_holds",
    _METADATA,
    sa.Column("hold_id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("session_id", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("placed_at_ms", sa.BigInteger),
    sa.Column("placed_by", sa.Text),
    sa.Column("lifted_at_ms", sa.BigInteger),
    sa.Column("lifted_by", sa.Text),
)
consents: Final = sa.Table(
    "recording_consents",
    _METADATA,
    sa.Column("consent_id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("session_id", sa.Text),
    sa.Column("purpose", sa.Text),
    sa.Column("wording", sa.Text),
    sa.Column("wording_version", sa.Text),
    sa.Column("locale", sa.Text),
    sa.Column("given_at_ms", sa.BigInteger),
    sa.Column("withdrawn_at_ms", sa.BigInteger),
    sa.Column("answer", sa.Text),
)
jobs: Final = sa.Table(
    "privacy_jobs",
    _METADATA,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text),
    sa.Column("tenant_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("pseudonym", sa.Text),
    sa.Column("asked_by_tenant", sa.Text),
    sa.Column("asked_by", sa.Text),
    sa.Column("asked_at_ms", sa.BigInteger),
    sa.Column("state", sa.Text),
    sa.Column("step", sa.Text),
    sa.Column("attempts", sa.BigInteger),
    sa.Column("due_at_ms", sa.BigInteger),
    sa.Column("finished_at_ms", sa.BigInteger),
    sa.Column("expires_at_ms", sa.BigInteger),
    sa.Column("result", sa.Text),
)
parts: Final = sa.Table(
    "privacy_export_parts",
    _METADATA,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary),
)
