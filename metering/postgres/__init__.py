"""The usage ledger on PostgreSQL. Needs the ``postgres`` extra (psycopg, Alembic); the rest of the room does not."""
