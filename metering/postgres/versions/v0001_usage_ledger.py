"""The usage ledger's tables: events, their daily sums, closed months; and what keeps them append-only."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_DAY = "day bigint NOT NULL, tenant_id text NOT NULL, agent_id text NOT NULL, mode text NOT NULL"
_COUNTS = (
    "audio_ms_in audio_ms_out audio_ms_synthesized tts_characters input_tokens cached_input_tokens output_tokens "
    "speculative_tokens tool_calls"
).split()
_SUMS = ["events", *_COUNTS, "failed", "interrupted", "estimated", "unclaimed"]


def upgrade() -> None:
    """Make everything."""
    counts = ", ".join(f"{name} bigint NOT NULL CHECK ({name} >= 0)" for name in _COUNTS)
    op.execute(
        f"""
        CREATE TABLE usage_events (
            sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            event_id text NOT NULL UNIQUE, request_id text NOT NULL, tenant_id text NOT NULL, user_id text NOT NULL,
            session_id text NOT NULL, agent_id text NOT NULL, mode text NOT NULL,
            started_at bigint NOT NULL, ended_at bigint NOT NULL, providers jsonb NOT NULL, {counts},
            latency_ms jsonb NOT NULL, interrupted boolean NOT NULL, success boolean NOT NULL, error_code text,
            estimated boolean NOT NULL, corrects text, shares jsonb NOT NULL DEFAULT '[]',
            transport text, latency_start_ms jsonb NOT NULL DEFAULT '{{}}'
        )
        """
    )
    # One event per request, and one correction per event (see metering.ledger).
    op.execute(
        "CREATE UNIQUE INDEX usage_events_request ON usage_events (tenant_id, request_id) WHERE corrects IS NULL"
    )
    op.execute("CREATE UNIQUE INDEX usage_events_correction ON usage_events (corrects) WHERE corrects IS NOT NULL")
    op.execute("CREATE INDEX usage_events_time ON usage_events (tenant_id, started_at)")
    op.execute("CREATE INDEX usage_events_started ON usage_events (started_at)")  # everybody's newest turns
    op.execute("CREATE INDEX usage_events_session ON usage_events (session_id)")
    sums = ", ".join(f"{name} bigint NOT NULL" for name in _SUMS)
    op.execute(f"CREATE TABLE usage_daily (row_id text PRIMARY KEY, {_DAY}, {sums})")
    op.execute(
        f"""
        CREATE TABLE usage_amounts (
            row_id text PRIMARY KEY, {_DAY}, provider text NOT NULL, model text NOT NULL, meter text NOT NULL,
            amount bigint NOT NULL, whole_seconds bigint NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX usage_daily_day ON usage_daily (day)")
    op.execute("CREATE INDEX usage_amounts_day ON usage_amounts (day)")
    op.execute(
        "CREATE TABLE closed_periods (period text PRIMARY KEY, closed_at bigint NOT NULL, statement text NOT NULL)"
    )
    op.execute(
        """
        CREATE FUNCTION convergio_usage_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the usage ledger is append-only: record a correction instead';
        END $$
        """
    )
    for table in ("usage_events", "closed_periods"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION convergio_usage_append_only()"
        )


def downgrade() -> None:
    """Facts are not thrown away by a migration."""
    raise NotImplementedError
