"""What every ledger promises, run over each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.errors import InvalidUsageEvent
from metering.identity import as_correction, event_id
from metering.ledger import DayQuery, Ledger, PageRequest, PeriodClosing, UsageQuery, UsageTotals, read_all
from metering.memory import MemoryLedger
from metering.postgres.ledger import PostgresLedger
from metering.rollup import DAY_MS, Rollup
from metering.sqlite_ledger import SqliteLedger
from metering.usage import ProviderShare, StageProvider, UsageEvent

EVERYTHING = UsageQuery()


def turn(number: int, tenant: str = "school") -> UsageEvent:
    request = f"req_{number}"
    return UsageEvent(
        event_id=event_id(tenant, request),
        request_id=request,
        tenant_id=tenant,
        user_id=f"user_{number % 2}",
        session_id=f"session_{number % 3}",
        agent_id=f"agent_{number % 4}",
        mode="byok",
        started_at=1000 * number,
        ended_at=1000 * number + 500,
        providers={"stt": StageProvider("whisper", "base.en")},
        audio_ms_in=number,
        output_tokens=2 * number,
        latency_ms={"total": 400},
        success=number % 5 != 0,
        error_code=None if number % 5 else "provider.timeout",
        breaches={"agent": "hedge", "total": "none"} if number % 3 else {},
        overtaken_tokens=number,
        interrupted=number % 2 == 0,
    )


KINDS = ["memory", "sqlite", "postgres"]


def new_ledger(kind: str, request: pytest.FixtureRequest, directory: Path) -> Ledger:
    """An empty ledger of that kind."""
    if kind == "postgres":
        server: Any = request.getfixturevalue("postgres")
        return PostgresLedger(server.database())
    return MemoryLedger() if kind == "memory" else SqliteLedger(directory / "usage.db")


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    ledger = new_ledger(request.param, request, tmp_path)
    yield ledger
    ledger.close()


def all_events(ledger: Ledger, query: UsageQuery = EVERYTHING) -> list[UsageEvent]:
    return list(read_all(ledger, query))


def test_an_empty_ledger_has_no_events_and_zero_totals(ledger: Ledger) -> None:
    assert all_events(ledger) == []
    assert ledger.totals(EVERYTHING) == UsageTotals()


def test_what_was_appended_is_read_back_unchanged_and_in_order(ledger: Ledger) -> None:
    events = [turn(n) for n in (3, 1, 2)]
    assert ledger.append(events) == 3
    assert all_events(ledger) == events


def test_latencies_are_counted_over_the_newest_measured_turns_of_the_query(ledger: Ledger) -> None:
    measured = [
        replace(
            turn(number), latency_ms={"stt": 100 + number % 2, "total": 400 + number}, breaches={}, transport="http"
        )
        for number in range(1, 5)
    ]
    other = replace(turn(9), latency_ms={"total": 9_999}, transport="webrtc")
    nothing = replace(turn(6), latency_ms={}, breaches={}, transport="http")
    ledger.append([*measured, other, nothing, turn(7, tenant="other")])
    ledger.append([as_correction(measured[3], replace(measured[3], latency_ms={"total": 777}))])
    counts = ledger.latencies(UsageQuery(tenant_id="school", transport="http"), 3)
    assert (counts.turns, counts.truncated) == (3, True)
    assert counts.by_stage == {"stt": {100: 1, 101: 1}, "total": {777: 1, 403: 1, 402: 1}}
    assert ledger.latencies(UsageQuery(tenant_id="school", transport="http", started_from=3_000), 3).turns == 2
    assert ledger.latencies(UsageQuery(tenant_id="nobody"), 3).by_stage == {}


def test_breaches_are_counted_by_stage_and_action_with_how_long_those_took(ledger: Ledger) -> None:
    took: list[dict[str, int]] = [{"agent": 900, "total": 1_500}, {"agent": 900}, {}]
    named = [{"agent": "filler", "total": "none"}, {"agent": "filler"}, {"tts": "text_only"}]
    late = [replace(turn(n), latency_ms=took[n], breaches=named[n]) for n in range(3)]
    ledger.append([*late, replace(turn(3), latency_ms={"agent": 900}, breaches={})])
    counts = ledger.latencies(EVERYTHING, 10)
    assert counts.turns == 4
    assert counts.by_stage == {"agent": {900: 3}, "total": {1_500: 1}}
    assert counts.breaches == {"agent": {"filler": 2}, "total": {"none": 1}, "tts": {"text_only": 1}}
    assert counts.breached == {"agent": {900: 2}, "total": {1_500: 1}}


def test_appending_nothing_is_allowed(ledger: Ledger) -> None:
    assert ledger.append([]) == 0


def test_the_same_request_counts_once_whatever_the_second_one_says(ledger: Ledger) -> None:
    ledger.append([turn(1)])
    assert ledger.append([replace(turn(1), audio_ms_in=999), turn(2), turn(2)]) == 1
    assert all_events(ledger) == [turn(1), turn(2)]


def test_the_same_request_id_of_two_tenants_is_two_requests(ledger: Ledger) -> None:
    assert ledger.append([turn(1, "school"), turn(1, "business")]) == 2


def test_an_invalid_event_is_refused_and_its_companions_with_it(ledger: Ledger) -> None:
    with pytest.raises(InvalidUsageEvent):
        ledger.append([turn(1), replace(turn(2), audio_ms_in=-1)])
    assert all_events(ledger) == []


def test_an_event_with_somebody_elses_id_is_refused(ledger: Ledger) -> None:
    with pytest.raises(InvalidUsageEvent):
        ledger.append([replace(turn(1), event_id=turn(2).event_id)])


def test_a_correction_replaces_its_original_in_what_is_read_and_summed(ledger: Ledger) -> None:
    correction = as_correction(turn(1), replace(turn(1), audio_ms_in=40))
    ledger.append([turn(1), turn(2)])
    assert ledger.append([correction]) == 1
    assert all_events(ledger) == [turn(2), correction]
    assert ledger.totals(EVERYTHING).audio_ms_in == 42
    assert all_events(ledger, UsageQuery(replaced=True)) == [turn(1), turn(2), correction]


def test_of_two_corrections_of_one_event_the_first_stays(ledger: Ledger) -> None:
    first = as_correction(turn(1), replace(turn(1), audio_ms_in=40))
    ledger.append([turn(1), first])
    assert ledger.append([as_correction(turn(1), replace(turn(1), audio_ms_in=50))]) == 0
    assert all_events(ledger) == [first]


def test_a_corrected_correction_counts_alone(ledger: Ledger) -> None:
    first = as_correction(turn(1), replace(turn(1), audio_ms_in=40))
    second = as_correction(first, replace(turn(1), audio_ms_in=50))
    ledger.append([turn(1), first, second])
    assert all_events(ledger) == [second]


def test_a_correction_that_arrives_before_its_original_still_replaces_it(ledger: Ledger) -> None:
    correction = as_correction(turn(1), replace(turn(1), audio_ms_in=40))
    ledger.append([correction])
    ledger.append([turn(1)])
    assert all_events(ledger) == [correction]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (UsageQuery(tenant_id="school"), [0, 1, 2, 3, 4, 5]),
        (UsageQuery(tenant_id="nobody"), []),
        (UsageQuery(user_id="user_1"), [1, 3, 5]),
        (UsageQuery(session_id="session_2"), [2, 5]),
        (UsageQuery(agent_id="agent_0"), [0, 4]),
        (UsageQuery(started_from=2000), [2, 3, 4, 5]),
        (UsageQuery(started_before=2000), [0, 1]),
        (UsageQuery(tenant_id="school", user_id="user_1", started_from=1000, started_before=5000), [1, 3]),
    ],
)
def test_filters_select_and_combine(ledger: Ledger, query: UsageQuery, numbers: list[int]) -> None:
    ledger.append([turn(n) for n in range(6)])
    ledger.append([turn(n, "business") for n in (7, 9)] if query.tenant_id else [])
    expected = [turn(n) for n in numbers]
    assert all_events(ledger, query) == expected
    assert ledger.totals(query) == UsageTotals.of(expected)


def test_pages_follow_each_other_while_others_append(ledger: Ledger) -> None:
    ledger.append([turn(n) for n in range(5)])
    first = ledger.read(EVERYTHING, PageRequest(limit=2))
    ledger.append([turn(9)])
    second = ledger.read(EVERYTHING, PageRequest(cursor=first.cursor, limit=3))
    third = ledger.read(EVERYTHING, PageRequest(cursor=second.cursor, limit=3))
    assert [*first.events, *second.events, *third.events] == [turn(n) for n in (0, 1, 2, 3, 4, 9)]
    assert third.cursor is None


def test_newest_first_pages_go_back_to_the_oldest(ledger: Ledger) -> None:
    ledger.append([turn(n) for n in range(5)])
    first = ledger.read(EVERYTHING, PageRequest(limit=3, newest_first=True))
    ledger.append([turn(9)])
    second = ledger.read(EVERYTHING, PageRequest(cursor=first.cursor, limit=3, newest_first=True))
    assert [*first.events, *second.events] == [turn(n) for n in (4, 3, 2, 1, 0)]
    assert second.cursor is None


def test_reading_all_goes_through_every_page(ledger: Ledger) -> None:
    events = [turn(n) for n in range(1203)]
    ledger.append(events)
    assert all_events(ledger) == events


@pytest.mark.parametrize("kind", KINDS)
def test_any_sequence_of_appends_leaves_the_set_of_distinct_events_and_their_sums(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(max_examples=8 if kind == "postgres" else 100)
    @given(batches=st.lists(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=6), max_size=6))
    def holds(batches: list[list[tuple[int, int]]]) -> None:
        ledger = new_ledger(kind, request, tmp_path_factory.mktemp("ledger"))
        expected: dict[str, UsageEvent] = {}
        new = 0
        for batch in batches:
            events = [corrected(number, depth) for number, depth in batch]
            new += ledger.append(events)
            for event in events:
                expected.setdefault(event.event_id, event)
        assert new == len(expected)
        assert all_events(ledger, UsageQuery(replaced=True)) == list(expected.values())
        replaced = {event.corrects for event in expected.values()}
        current = [event for event in expected.values() if event.event_id not in replaced]
        assert (
            ledger.totals(EVERYTHING) == UsageTotals.of(current) == ledger.totals(UsageQuery(started_before=DAY_MS - 1))
        )
        assert ledger.daily(DayQuery()) == Rollup.of(current).days()
        assert ledger.amounts(DayQuery()) == Rollup.of(current).quantities()
        ledger.close()

    holds()


def test_what_a_correction_replaces_is_taken_out_of_the_daily_sums(ledger: Ledger) -> None:
    other = StageProvider("azure", "conversation")
    ledger.append([turn(1), turn(2)])
    ledger.append([as_correction(turn(1), replace(turn(1), audio_ms_in=1500, providers={"stt": other}))])
    (day,) = [row for row in ledger.daily(DayQuery()) if row.agent_id == "agent_1"]
    assert (day.totals.events, day.totals.audio_ms_in) == (1, 1500)
    heard = [row for row in ledger.amounts(DayQuery()) if row.meter == "audio_ms_in"]
    assert [(row.provider, row.amount, row.whole_seconds) for row in heard] == [("azure", 1500, 2), ("whisper", 2, 1)]


def test_shares_are_kept_and_counted_by_who_did_the_work_also_where_a_correction_takes_them_back(
    ledger: Ledger,
) -> None:
    whisper, azure = (
        ProviderShare("stt", "whisper", "base.en", audio_ms_in=400),
        ProviderShare("stt", "azure", "conversation", audio_ms_in=1_100),
    )
    shared = replace(turn(1), audio_ms_in=1_500, shares=(whisper, azure))
    ledger.append([shared, turn(2)])
    assert all_events(ledger) == [shared, turn(2)]

    def heard() -> list[tuple[str, int, int]]:
        rows = [row for row in ledger.amounts(DayQuery(agent_id="agent_1")) if row.meter == "audio_ms_in"]
        return [(row.provider, row.amount, row.whole_seconds) for row in rows]

    assert heard() == [("azure", 1_100, 2), ("whisper", 400, 1)]
    correction = as_correction(shared, replace(shared, shares=(replace(azure, audio_ms_in=1_500),)))
    ledger.append([correction])
    assert heard() == [("azure", 1_500, 2)]
    assert all_events(ledger) == [turn(2), correction]


def test_days_are_asked_for_by_tenant_agent_and_period(ledger: Ledger) -> None:
    events = [replace(turn(n), started_at=n * DAY_MS) for n in range(6)]
    ledger.append([*events, turn(7, "business")])
    asked = DayQuery(tenant_id="school", first_day=1, day_before=5)
    assert [row.day for row in ledger.daily(asked)] == [1, 2, 3, 4]
    assert {row.day for row in ledger.amounts(asked)} == {1, 2, 3, 4}
    assert [row.day for row in ledger.daily(DayQuery(tenant_id="school", agent_id="agent_1"))] == [1, 5]
    whole_days = UsageQuery(tenant_id="school", started_from=DAY_MS, started_before=5 * DAY_MS)
    assert ledger.totals(whole_days) == UsageTotals.of(events[1:5])


def test_work_that_belonged_to_no_turn_is_counted(ledger: Ledger) -> None:
    stray = replace(turn(1), request_id="ses:unclaimed", event_id=event_id("school", "ses:unclaimed"))
    ledger.append([stray, turn(2)])
    assert ledger.totals(EVERYTHING).unclaimed == ledger.totals(UsageQuery(started_before=DAY_MS - 1)).unclaimed == 1


def test_a_month_is_closed_once(ledger: Ledger) -> None:
    first, second = PeriodClosing("2026-09", 5, "{}"), PeriodClosing("2026-09", 6, '{"other":1}')
    earlier = PeriodClosing("2026-08", 7, "{}")
    assert ledger.closings() == ()
    assert [ledger.close_period(closing) for closing in (first, second, earlier)] == [first, first, earlier]
    assert ledger.closings() == (earlier, first)


def corrected(number: int, depth: int) -> UsageEvent:
    event = turn(number)
    for _ in range(depth):
        event = as_correction(event, replace(event, audio_ms_in=event.audio_ms_in + 100))
    return event
