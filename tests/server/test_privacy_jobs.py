"""Jobs in the records of two servers: an export that is stored on one while another ends it."""

from __future__ import annotations

import threading

import anyio
import anyio.to_thread
import sqlalchemy as sa
from postgres_server import PostgresServer

from metering.records import Records
from server.audit import AuditLog
from server.guard import OPERATOR_AT_TERMINAL
from server.offices import AREAS
from server.privacy import tables
from server.privacy.jobs import Jobs, expire


async def test_a_part_that_is_being_stored_goes_with_its_export(postgres: PostgresServer) -> None:
    records = Records("postgresql+psycopg" + postgres.database().removeprefix("postgresql"))
    records.migrate(AREAS)
    jobs = Jobs(records, AuditLog(records, lambda: 1), lambda: 1)
    await jobs.ask(OPERATOR_AT_TERMINAL, "export", "local", "ada")
    job = await jobs.take()
    assert job is not None
    storing, go_on = threading.Event(), threading.Event()

    def store() -> None:
        with records.write() as connection:
            assert jobs.renew(connection, job)
            connection.execute(tables.parts.insert().values(job_id=job.job_id, number=0, data=b"of ada"))
            storing.set()
            assert go_on.wait(30)

    def end() -> None:
        with records.write() as connection:
            expire(connection, tables.jobs.c.job_id == job.job_id)

    def waiting() -> int:
        locked = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        with records.read() as connection:
            return connection.execute(locked).scalar_one()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, store)
            await anyio.to_thread.run_sync(storing.wait, 30)
            tasks.start_soon(anyio.to_thread.run_sync, end)
            while not await anyio.to_thread.run_sync(waiting):  # noqa: ASYNC110 - the database tells nobody
                await anyio.sleep(0.02)
            go_on.set()
    with records.read() as connection:
        row = connection.execute(sa.select(tables.jobs.c.state, tables.jobs.c.finished_at_ms)).one()
        left = connection.execute(sa.select(sa.func.count()).select_from(tables.parts)).scalar_one()
    records.close()
    assert row.state == "expired"
    assert row.finished_at_ms is not None
    assert left == 0
