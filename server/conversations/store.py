"""Stored conversations, read and taken out: by id, by page, by whoever asks for them.

Knows no HTTP and no policy. Deletions are plain functions of a connection, a bounded number of conversations at a time,
so that ``server.privacy`` can do them in the transaction that tells of them. Owned by the privacy office.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from metering.records import Records
from server.conversations import tables
from server.conversations.tables import Conversation, Entry

MOST_LISTED: Final = 200


@dataclass(frozen=True, slots=True)
class ConversationQuery:
    """Which conversations, newest first. ``None`` means any; times are epoch milliseconds, from inclusive to exclusive.

    ``after`` is the last one of the page before: its beginning and its id.
    """

    tenant_id: str
    user_id: str | None = None
    agent_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    after: tuple[int, str] | None = None
    limit: int = 50


class ConversationStore:
    """See the module."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def find(self, session_id: str) -> Conversation | None:
        """A conversation, whoever's it is: the caller asks whether it may be seen. Raises RecordsError."""
        table = tables.conversations
        question = sa.select(table).where(table.c.session_id == session_id)
        row = await self._records.run_read(lambda connection: connection.execute(question).mappings().one_or_none())
        return None if row is None else Conversation(**row)

    async def entries(self, session_id: str) -> list[Entry]:
        """What was said in it, in order. Raises RecordsError."""
        return await self._records.run_read(lambda connection: read_entries(connection, session_id))

    async def page(self, query: ConversationQuery) -> list[Conversation]:
        """Conversations, newest first; one more than ``limit`` where there are more. Raises RecordsError."""
        question = _question(query)
        rows = await self._records.run_read(lambda connection: connection.execute(question).mappings().all())
        return [Conversation(**row) for row in rows]


def read_entries(connection: sa.Connection, session_id: str) -> list[Entry]:
    """What was said in a conversation, in order."""
    table = tables.entries
    question = sa.select(table).where(table.c.session_id == session_id).order_by(table.c.number, table.c.item_id)
    return [Entry.of(dict(row)) for row in connection.execute(question).mappings()]


def delete_conversations(connection: sa.Connection, session_ids: Sequence[str]) -> int:
    """Take out these conversations and every word of them; returns how many there were. Bears being done twice."""
    if not session_ids:
        return 0
    sessions, entries = tables.conversations, tables.entries
    # Their rows are locked first: who is writing to one finishes, and whoever comes later finds no header.
    named = sessions.c.session_id.in_(session_ids)
    connection.execute(sa.select(sessions.c.session_id).where(named).with_for_update()).all()
    connection.execute(entries.delete().where(entries.c.session_id.in_(session_ids)))
    recordings = tables.recordings  # their files have no row then, and go with the next sweep
    connection.execute(recordings.delete().where(recordings.c.session_id.in_(session_ids)))
    return connection.execute(sessions.delete().where(named)).rowcount


def _question(query: ConversationQuery) -> sa.Select[Any]:
    columns = tables.conversations.c
    question = sa.select(tables.conversations).where(columns.tenant_id == query.tenant_id)
    if query.user_id is not None:
        question = question.where(columns.user_id == query.user_id)
    if query.agent_id is not None:
        question = question.where(columns.agent_id == query.agent_id)
    if query.since_ms is not None:
        question = question.where(columns.started_at_ms >= query.since_ms)
    if query.until_ms is not None:
        question = question.where(columns.started_at_ms < query.until_ms)
    if query.after is not None:
        at_ms, session_id = query.after
        later = sa.and_(columns.started_at_ms == at_ms, columns.session_id < session_id)
        question = question.where(sa.or_(columns.started_at_ms < at_ms, later))
    return question.order_by(columns.started_at_ms.desc(), columns.session_id.desc()).limit(query.limit + 1)
