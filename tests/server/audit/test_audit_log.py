"""The audit log: what is appended stays, in a chain that shows what was changed behind its back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa

from metering.records import Records, RecordsError
from server.audit import AUDIT, AuditEntry, AuditLog
from server.guard import Identity

ADMIN = Identity("school", "user_ada")


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "sqlite":
        opened = Records.in_file(tmp_path / "records.sqlite3")
    else:
        url: str = request.getfixturevalue("postgres").database()
        opened = Records("postgresql+psycopg" + url.removeprefix("postgresql"))
    opened.migrate([AUDIT])
    yield opened
    opened.close()


@pytest.fixture
def audit(records: Records) -> AuditLog:
    return AuditLog(records, lambda: 1_700_000_000_000)


def entry(action: str, tenant_id: str = "school") -> AuditEntry:
    return AuditEntry(ADMIN, action, tenant_id, target="key_1", details={"label": "Ünïcode"}, request_id="req_1")


async def test_rows_are_read_in_order_by_tenant_and_by_page(audit: AuditLog) -> None:
    for number in range(5):
        await audit.record(entry(f"thing.{number}", "school" if number % 2 else "other"))
    assert [row.action for row in await audit.read(tenant_id=None)] == [f"thing.{number}" for number in range(5)]
    assert [row.action for row in await audit.read(tenant_id="school")] == ["thing.1", "thing.3"]
    assert [row.action for row in await audit.read(tenant_id=None, after=2, limit=2)] == ["thing.2", "thing.3"]


async def test_many_at_once_are_one_whole_chain(audit: AuditLog) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(audit.record, entry(f"thing.{number}"))
    assert [row.sequence for row in await audit.read(tenant_id=None)] == list(range(1, 21))
    assert await audit.verify() is None


@pytest.mark.parametrize("change", ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log"])
async def test_the_database_itself_refuses_to_change_a_row(records: Records, audit: AuditLog, change: str) -> None:
    await audit.record(entry("thing.done"))
    with pytest.raises(RecordsError), records.write() as connection:
        connection.execute(sa.text(change))


@pytest.mark.parametrize(
    ("change", "broken_at"),
    [
        ("UPDATE audit_log SET actor_id = 'somebody' WHERE sequence = 2", 2),
        ("DELETE FROM audit_log WHERE sequence = 2", 3),
        ("UPDATE audit_log SET hash = 'x' WHERE sequence = 1", 1),
    ],
)
async def test_a_row_that_was_changed_or_taken_out_is_told(
    records: Records, audit: AuditLog, change: str, broken_at: int
) -> None:
    for number in range(3):
        await audit.record(entry(f"thing.{number}"))
    with records.write() as connection:
        if records.is_sqlite:
            for verb in ("update", "delete"):
                connection.execute(sa.text(f"DROP TRIGGER audit_log_no_{verb}"))
        else:
            connection.execute(sa.text("DROP TRIGGER audit_log_append_only ON audit_log"))
        connection.execute(sa.text(change))
    assert await audit.verify() == broken_at
