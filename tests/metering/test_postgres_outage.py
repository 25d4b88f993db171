"""A database that goes away and comes back: conversations notice nothing, and the ledger gets everything once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from postgres_server import PostgresServer, programs, running_postgres
from usage_events import DAY_MS, numbered, opened

from metering.forwarder import RecorderOptions
from metering.identity import as_abandoned
from metering.ledger import UsageQuery, UsageTotals, read_all
from metering.ledger_jobs import Recovery
from metering.postgres.ledger import PostgresLedger
from metering.recorder import UsageRecorder
from metering.usage import UsageEvent

QUICK = RecorderOptions(retry_first_s=0.02, retry_max_s=0.2, segment_bytes=4_000)


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of our own to stop and start."""
    if programs() is None:
        pytest.skip("PostgreSQL 15 or newer is not installed (Debian, Ubuntu: apt-get install postgresql)")
    with running_postgres() as server:
        yield server


async def test_an_outage_delays_no_event_and_the_database_gets_all_of_them_when_it_is_back(
    server: PostgresServer, tmp_path: Path
) -> None:
    ledger = PostgresLedger(server.database())
    recorder = UsageRecorder(ledger, tmp_path, QUICK)
    await recorder.start()
    await recorder.record(numbered(0))
    await asyncio.to_thread(server.stop, "immediate")
    for number in range(1, 60):
        recorder.open_turn(opened(numbered(number)))
        await recorder.record(numbered(number))
        await recorder.record(numbered(number // 2))  # delivered twice
    assert recorder.status().ledger_failed
    assert os.listdir(tmp_path) != []
    await asyncio.to_thread(server.start)
    for number in range(60, 70):
        await recorder.record(numbered(number))
    assert await recorder.aclose(30)
    expected = [numbered(n) for n in range(70)]
    assert sorted(read_all(ledger, UsageQuery()), key=lambda event: event.request_id) == expected
    assert ledger.totals(UsageQuery()) == UsageTotals.of(expected)
    ledger.close()


async def test_a_server_that_starts_while_the_database_is_down_recovers_when_it_is_back(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = server.database()
    await asyncio.to_thread(server.stop)
    ledger = PostgresLedger(url)
    first = UsageRecorder(ledger, tmp_path, QUICK)
    assert await first.start() == Recovery()
    first.open_turn(opened(numbered(1)))
    await first.record(numbered(2))
    assert await first.aclose()
    second = UsageRecorder(ledger, tmp_path, QUICK)
    assert await second.start() == Recovery(pending=1)
    await second.record(numbered(3))
    await asyncio.to_thread(server.start)
    assert await second.aclose(30)
    third = UsageRecorder(ledger, tmp_path, QUICK)
    await third.start()
    assert await third.aclose(30)
    found = {event.request_id: event for event in read_all(ledger, UsageQuery())}
    expected = [as_abandoned(opened(numbered(1))), numbered(2), numbered(3)]
    assert found == {event.request_id: event for event in expected}
    assert os.listdir(tmp_path) == []
    ledger.close()


async def test_a_clock_that_jumps_changes_no_quantity_and_no_order(postgres: PostgresServer, tmp_path: Path) -> None:
    ledger = PostgresLedger(postgres.database())
    recorder = UsageRecorder(ledger, tmp_path)
    await recorder.start()
    jumps = [0, 400 * DAY_MS, -300 * DAY_MS, 1, -20_000 * DAY_MS]
    events = [jumped(number, by) for number, by in enumerate(jumps)]
    for event in events:
        await recorder.record(event)
    assert await recorder.aclose()
    assert list(read_all(ledger, UsageQuery())) == events
    assert ledger.totals(UsageQuery()) == UsageTotals.of(events)
    ledger.close()


def jumped(number: int, by: int) -> UsageEvent:
    event = numbered(number)
    return replace(event, started_at=max(0, event.started_at + by), ended_at=event.ended_at)
