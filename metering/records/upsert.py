"""Insert rows that may be there already, without looking first, on either database. For areas' plain functions.

Whoever looks first and then inserts is, on PostgreSQL, too late where another server does the same: both find nothing,
and one of them fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, object]], changed: Sequence[str] = ()
) -> None:
    """Insert rows, at least one; of those whose primary key is there already change the named columns.

    Rows with one key must be one row, and writers that run at once give theirs in one order, or PostgreSQL's locks
    might make a circle.
    """
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    keys = list(table.primary_key.columns)
    if changed:
        insert = insert.on_conflict_do_update(
            index_elements=keys, set_={name: insert.excluded[name] for name in changed}
        )
    else:
        insert = insert.on_conflict_do_nothing(index_elements=keys)
    connection.execute(insert, list(rows))
