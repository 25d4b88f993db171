"""Where Alembic begins (https://alembic.sqlalchemy.org/en/latest/tutorial.html). Run by ``migrate``, nobody else.

One transaction for everything, and in it a lock first: of several servers that start at once, one migrates, and the
others find it done.
"""

from alembic import context
from sqlalchemy import Connection, text

from metering.postgres.migrate import MIGRATION_LOCK

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None, version_table="convergio_usage_version")
with context.begin_transaction():
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    context.run_migrations()
