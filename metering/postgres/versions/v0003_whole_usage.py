"""Audio by every stage, reasoning, and the time of tools and calls; unknown, hence 0, for what was recorded before."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SUMS = ("audio_ms_received", "audio_ms_speech", "audio_ms_sent", "reasoning_tokens", "tool_ms", "call_ms")
_TICKS = ("audio_ticks_received", "audio_ticks_sent")


def upgrade() -> None:
    """Add the columns; their defaults rewrite no row."""
    counts = (f"ADD COLUMN {name} bigint NOT NULL DEFAULT 0 CHECK ({name} >= 0)" for name in (*_SUMS, *_TICKS))
    op.execute("ALTER TABLE usage_events " + ", ".join(counts))
    op.execute("ALTER TABLE usage_daily " + ", ".join(f"ADD COLUMN {name} bigint NOT NULL DEFAULT 0" for name in _SUMS))


def downgrade() -> None:
    """Facts are not thrown away by a migration."""
    raise NotImplementedError
