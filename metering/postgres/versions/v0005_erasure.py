"""What may be done to events: a person's id replaced by a pseudonym, and months that are over purged; nothing else."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WORDS = "the usage ledger is append-only: record a correction instead"


def upgrade() -> None:
    """Let triggers look at each row, where they looked at the statement."""
    op.execute(
        """
        CREATE TABLE usage_purges (
            tenant_id text NOT NULL, started_before bigint NOT NULL, purged_at bigint NOT NULL,
            PRIMARY KEY (tenant_id, started_before), CHECK (started_before <= purged_at - 31536000000)
        )
        """
    )
    op.execute(
        f"""
        CREATE FUNCTION convergio_usage_pseudonyms_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF starts_with(NEW.user_id, 'erased_') AND NOT starts_with(OLD.user_id, 'erased_')
                AND to_jsonb(NEW) - 'user_id' = to_jsonb(OLD) - 'user_id' THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION '{_WORDS}';
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION convergio_usage_purged_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT 1 FROM usage_purges AS purged
                WHERE purged.tenant_id = OLD.tenant_id AND purged.started_before > OLD.started_at) THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION 'the usage ledger is append-only: record a correction instead';
        END $$
        """
    )
    op.execute("DROP TRIGGER usage_events_append_only ON usage_events")
    op.execute(
        "CREATE TRIGGER usage_events_append_only BEFORE TRUNCATE ON usage_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION convergio_usage_append_only()"
    )
    op.execute(
        "CREATE TRIGGER usage_events_pseudonyms_only BEFORE UPDATE ON usage_events "
        "FOR EACH ROW EXECUTE FUNCTION convergio_usage_pseudonyms_only()"
    )
    op.execute(
        "CREATE TRIGGER usage_events_purged_only BEFORE DELETE ON usage_events "
        "FOR EACH ROW EXECUTE FUNCTION convergio_usage_purged_only()"
    )
    op.execute(
        "CREATE TRIGGER usage_purges_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON usage_purges "
        "FOR EACH STATEMENT EXECUTE FUNCTION convergio_usage_append_only()"
    )


def downgrade() -> None:
    """Facts are not thrown away by a migration."""
    raise NotImplementedError
