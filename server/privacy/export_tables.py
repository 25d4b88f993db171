"""What an export of a person holds of the records: which rows, and how they are written. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from metering.report import inert
from server.conversations.tables import conversations, entries, recordings
from server.privacy import tables


def _conversations(tenant_id: str, user_id: str) -> sa.Select[Any]:
    table = conversations
    mine = (table.c.tenant_id == tenant_id) & (table.c.user_id == user_id)
    return sa.select(table).where(mine).order_by(table.c.started_at_ms, table.c.session_id)


def _entries(tenant_id: str, user_id: str) -> sa.Select[Any]:
    table = conversations
    mine = sa.select(table.c.session_id).where(table.c.tenant_id == tenant_id, table.c.user_id == user_id)
    question = sa.select(entries).where(entries.c.session_id.in_(mine))
    return question.order_by(entries.c.session_id, entries.c.number)


def _recordings(tenant_id: str, user_id: str) -> sa.Select[Any]:
    table = conversations
    mine = sa.select(table.c.session_id).where(table.c.tenant_id == tenant_id, table.c.user_id == user_id)
    return sa.select(recordings).where(recordings.c.session_id.in_(mine)).order_by(recordings.c.started_at_ms)


def _consents(tenant_id: str, user_id: str) -> sa.Select[Any]:
    table = tables.consents
    mine = (table.c.tenant_id == tenant_id) & (table.c.user_id == user_id)
    return sa.select(table).where(mine).order_by(table.c.given_at_ms)


def _requests(tenant_id: str, user_id: str) -> sa.Select[Any]:
    columns = tables.jobs.c
    names = ("job_id", "kind", "asked_by", "asked_at_ms", "state", "finished_at_ms")
    shown: list[sa.ColumnElement[Any]] = [columns[name] for name in names]
    mine = (columns.tenant_id == tenant_id) & (columns.user_id == user_id)
    return sa.select(*shown).where(mine).order_by(columns.asked_at_ms)


def _actions(tenant_id: str, user_id: str) -> sa.Select[Any]:
    """What the audit log says they did."""
    names = ("sequence", "at_ms", "tenant_id", "action", "target", "details", "request_id")
    table = sa.table("audit_log", *map(sa.column, (*names, "actor_tenant_id", "actor_id")))
    mine = (table.c.actor_tenant_id == tenant_id) & (table.c.actor_id == user_id)
    return sa.select(*(table.c[name] for name in names)).where(mine).order_by(table.c.sequence)


TABLES: Final[Mapping[str, Callable[[str, str], sa.Select[Any]]]] = {
    "conversations": _conversations,
    "entries": _entries,
    "recordings": _recordings,
    "consents": _consents,
    "requests": _requests,
    "actions": _actions,
}
"""By the name of the file; each asked with a tenant and a person."""


def json_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """One object a line; captions as what they are."""
    for row in rows:
        plain = {**row, "cues": json.loads(row["cues"])} if "cues" in row else dict(row)
        yield json.dumps(plain, ensure_ascii=False).encode() + b"\n"


def csv_lines(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """With a heading, even where there are no rows; what a spreadsheet would take for a formula is text."""
    headings = [str(column.name) for column in TABLES[name]("", "").selected_columns]
    yield _line(headings)
    for row in rows:
        yield _line([_cell(row[heading]) for heading in headings])


def _cell(value: Any) -> Any:
    return inert(value) if isinstance(value, str) else value


def _line(values: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()
