"""Totals of any period, from the daily sums and the rest of it, on both databases: those of its events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_server import PostgresServer
from usage_events import DAY_MS, numbered

from metering import ledger_sql
from metering.identity import as_correction
from metering.ledger import Ledger, UsageQuery, UsageTotals
from metering.postgres.ledger import PostgresLedger
from metering.sqlite_ledger import SqliteLedger
from metering.usage import UsageEvent

FIRST_DAY = 20_000
TURNS = [
    replace(numbered(n, tenant=f"tenant_{n % 2}"), started_at=FIRST_DAY * DAY_MS + n * DAY_MS // 7, ended_at=0)
    for n in range(60)
]
MENDED = [as_correction(turn, replace(turn, audio_ms_received=1)) for turn in TURNS[::9]]
CURRENT = [turn for turn in TURNS if turn not in TURNS[::9]] + MENDED
_times = st.none() | st.integers(-1, 10 * 14).map(lambda half: FIRST_DAY * DAY_MS + half * DAY_MS // 14)
_odd = st.none() | st.integers(FIRST_DAY * DAY_MS - 5, (FIRST_DAY + 9) * DAY_MS)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def ledger(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Iterator[Ledger]:
    made: Ledger
    if request.param == "sqlite":
        made = SqliteLedger(tmp_path_factory.mktemp("ledger") / "usage.db")
    else:
        made = PostgresLedger(postgres.database())
    made.append([*TURNS, *MENDED])
    yield made
    made.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    start=_times | _odd,
    end=_times | _odd,
    tenant=st.sampled_from([None, "tenant_0", "nobody"]),
    agent=st.sampled_from([None, "agent_1"]),
)
def test_the_totals_of_any_period_are_those_of_its_events(
    ledger: Ledger, start: int | None, end: int | None, tenant: str | None, agent: str | None
) -> None:
    query = UsageQuery(tenant_id=tenant, agent_id=agent, started_from=start, started_before=end)
    assert ledger.totals(query) == UsageTotals.of(event for event in CURRENT if within(query, event))


def within(query: UsageQuery, event: UsageEvent) -> bool:
    return (
        query.tenant_id in (None, event.tenant_id)
        and query.agent_id in (None, event.agent_id)
        and (query.started_from is None or event.started_at >= query.started_from)
        and (query.started_before is None or event.started_at < query.started_before)
    )


def test_a_long_period_reads_no_more_than_two_days_of_events() -> None:
    query = UsageQuery(started_from=FIRST_DAY * DAY_MS + 5, started_before=(FIRST_DAY + 300) * DAY_MS + 7)
    days, first, last = ledger_sql.totals_questions(query, "?")
    assert "usage_daily" in days[0]
    assert first[1] == (query.started_from, (FIRST_DAY + 1) * DAY_MS)
    assert last[1] == ((FIRST_DAY + 300) * DAY_MS, query.started_before)
