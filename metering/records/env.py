"""Where Alembic begins (https://alembic.sqlalchemy.org/en/latest/tutorial.html). Run by ``migrate``, nobody else.

The transaction is the caller's, and in it the lock: of several servers that start at once, one migrates, and the
others find it done.
"""

from alembic import context
from sqlalchemy import Connection

from metering.records.migrate import VERSION_TABLE

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None, version_table=VERSION_TABLE, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
