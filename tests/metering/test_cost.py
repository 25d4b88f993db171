"""What usage costs: exact, recomputable, and for ever the same once a month is closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage_events import events, numbered

from metering.errors import PeriodNotOver
from metering.identity import as_correction
from metering.ledger import DayQuery
from metering.memory import MemoryLedger
from metering.pricing.book import PriceBook, date_day
from metering.pricing.closing import close_month, month_days
from metering.pricing.cost import (
    cost_lines,
    event_cost,
    events_cost,
    micros,
    money,
    totals_by_currency,
    unpriced,
)
from metering.pricing.rates import cost_of
from metering.pricing.sheets import Meter, Price, PriceSheet, Rounding
from metering.quantities import METERS, TIME_METERS, quantities
from metering.rollup import DAY_MS
from metering.usage import ProviderShare, StageProvider, UsageEvent

SEPTEMBER_MS = date_day(date(2026, 9, 10)) * DAY_MS
OCTOBER_MS = date_day(date(2026, 10, 5)) * DAY_MS


def price(meter: Meter, per: str, amount: str, rounding: Rounding = "exact", model: str = "*") -> Price:
    return Price(model, meter, per, Decimal(amount), rounding)


def sheet(*prices: Price, provider: str = "azure", since: date = date(2020, 1, 1), currency: str = "EUR") -> PriceSheet:
    return PriceSheet(f"{provider}-{since}.toml", provider, currency, since, None, "confirmed", "a test", prices)


def turn(number: int = 1, **changes: object) -> UsageEvent:
    azure = StageProvider("azure", "conversation")
    providers = {"stt": azure, "tts": StageProvider("azure", "ava"), "agent": StageProvider("openai", "small")}
    event = replace(
        numbered(number), providers=providers, started_at=SEPTEMBER_MS, ended_at=SEPTEMBER_MS,
        audio_ms_in=0, audio_ms_out=0, audio_ms_synthesized=0, output_tokens=0,
    )  # fmt: skip
    return replace(event, **changes)  # pyright: ignore[reportArgumentType]


def test_an_event_is_taken_apart_by_who_did_what() -> None:
    event = turn(audio_ms_in=1001, tts_characters=12, input_tokens=10, cached_input_tokens=4, output_tokens=3)
    assert [(used.provider, used.model, used.meter, used.amount) for used in quantities(event)] == [
        ("azure", "conversation", "audio_ms_in", 1001),
        ("azure", "ava", "tts_characters", 12),
        ("openai", "small", "input_tokens", 6),
        ("openai", "small", "cached_input_tokens", 4),
        ("openai", "small", "output_tokens", 3),
    ]
    assert [used.whole_seconds for used in quantities(event)] == [2, 0, 0, 0, 0]


def test_what_a_fallback_did_is_priced_as_the_fallbacks() -> None:
    shares = (
        ProviderShare("stt", "azure", "conversation", audio_ms_in=1_500),
        ProviderShare("stt", "whisper", "base.en", audio_ms_in=500),
        ProviderShare("tts", "azure", "ava", audio_ms_synthesized=900, tts_characters=30),
        ProviderShare("tts", "piper", "amy", audio_ms_synthesized=100, tts_characters=70),
    )
    event = turn(
        audio_ms_in=2_000, audio_ms_synthesized=1_000, tts_characters=100, output_tokens=3, shares=shares,
    )  # fmt: skip
    book = PriceBook(
        [
            sheet(price("audio_ms_in", "second", "1", "second"), price("tts_characters", "thousand", "10")),
            sheet(price("audio_ms_in", "second", "0.1", "second"), provider="whisper"),
            sheet(price("tts_characters", "thousand", "0"), provider="piper"),
            sheet(price("output_tokens", "thousand", "1"), provider="openai"),
        ]
    )
    lines = events_cost([event], book)
    assert {(line.provider, line.meter): (line.amount, line.micros) for line in lines} == {
        ("azure", "audio_ms_in"): (1_500, 2_000_000),
        ("whisper", "audio_ms_in"): (500, 100_000),
        ("azure", "tts_characters"): (30, 300_000),
        ("piper", "tts_characters"): (70, 0),
        ("azure", "audio_ms_synthesized"): (900, None),
        ("piper", "audio_ms_synthesized"): (100, None),
        ("openai", "output_tokens"): (3, 3_000),
    }


def test_a_provider_that_has_several_shares_of_a_turn_is_billed_for_its_begun_seconds_once() -> None:
    again = ProviderShare("stt", "azure", "conversation", audio_ms_in=300)
    (used,) = quantities(turn(audio_ms_in=600, shares=(again, again)))
    assert (used.amount, used.whole_seconds) == (600, 1)


def test_tokens_are_those_of_the_models_that_took_them_and_drafts_are_the_preferred_ones() -> None:
    asked = turn(
        input_tokens=150,
        cached_input_tokens=40,
        output_tokens=12,
        speculative_tokens=9,
        shares=(
            ProviderShare("agent", "openai", "small", input_tokens=60, cached_input_tokens=40, output_tokens=12),
            ProviderShare("agent", "azure_openai", "spare", input_tokens=90),
        ),
    )
    used = {(each.provider, each.meter): each.amount for each in quantities(asked) if "token" in each.meter}
    assert used == {
        ("openai", "input_tokens"): 20,
        ("openai", "cached_input_tokens"): 40,
        ("openai", "output_tokens"): 12,
        ("openai", "speculative_tokens"): 9,
        ("azure_openai", "input_tokens"): 90,
    }


def test_a_stage_without_shares_is_its_providers() -> None:
    heard = ProviderShare("stt", "whisper", "base.en", audio_ms_in=5)
    event = turn(audio_ms_in=5, tts_characters=7, shares=(heard,))
    assert [(used.provider, used.meter, used.amount) for used in quantities(event)] == [
        ("whisper", "audio_ms_in", 5),
        ("azure", "tts_characters", 7),
    ]


@given(events())
def test_what_providers_did_adds_up_to_the_event(event: UsageEvent) -> None:
    for meter in METERS:
        if meter != "input_tokens":
            assert sum(used.amount for used in quantities(event) if used.meter == meter) == getattr(event, meter)


def test_work_nobody_is_named_for_is_shown_and_has_no_price() -> None:
    book = PriceBook([sheet(price("audio_ms_in", "hour", "1"))])
    lines = events_cost([turn(providers={}, audio_ms_in=5)], book)
    assert unpriced(lines) == (("unknown", "unknown", "audio_ms_in"),)
    assert totals_by_currency(lines) == {}
    ledger = MemoryLedger()
    ledger.append([turn(providers={}, audio_ms_in=5)])
    assert cost_of(ledger, DayQuery(), book).unpriced == unpriced(lines)


def test_audio_is_billed_by_the_millisecond_or_by_the_begun_second_of_each_turn() -> None:
    turns = [turn(n, audio_ms_in=1_001) for n in range(3)]
    exact = events_cost(turns, PriceBook([sheet(price("audio_ms_in", "second", "1"))]))
    begun = events_cost(turns, PriceBook([sheet(price("audio_ms_in", "second", "1", "second"))]))
    assert totals_by_currency(exact) == {"EUR": 3_003_000}
    assert totals_by_currency(begun) == {"EUR": 6_000_000}


def test_a_sum_is_rounded_once_half_up() -> None:
    book = PriceBook([sheet(price("output_tokens", "million", "0.15"), provider="openai")])
    assert totals_by_currency(events_cost([turn(output_tokens=10)], book)) == {"EUR": 2}  # 1.5 millionths
    assert totals_by_currency(events_cost([turn(n, output_tokens=10) for n in range(10)], book)) == {"EUR": 15}
    assert [micros(Fraction(n, 4_000_000)) for n in (0, 1, 2, 5, 6)] == [0, 0, 1, 1, 2]
    assert str(money(1_500_000)) == "1.500000"


def test_currencies_are_not_added_to_each_other() -> None:
    spoken = sheet(price("tts_characters", "million", "15"))
    thought = sheet(price("output_tokens", "million", "2"), provider="openai", currency="USD")
    lines = events_cost([turn(tts_characters=1_000, output_tokens=500)], PriceBook([spoken, thought]))
    assert totals_by_currency(lines) == {"EUR": 15_000, "USD": 1_000}


def test_each_day_has_the_price_of_its_day() -> None:
    cheap = sheet(price("tts_characters", "million", "10"))
    dear = sheet(price("tts_characters", "million", "20"), since=date(2026, 9, 11))
    days = [turn(1, tts_characters=100), turn(2, tts_characters=100, started_at=SEPTEMBER_MS + DAY_MS)]
    assert totals_by_currency(events_cost(days, PriceBook([cheap, dear]))) == {"EUR": 3_000}


def listed_price(meter: Meter, amount: Decimal, begun: bool) -> Price:
    timed = meter in TIME_METERS
    return price(meter, "hour" if timed else "million", str(amount), "second" if begun and timed else "exact")


prices = st.builds(listed_price, st.sampled_from(METERS), st.decimals(0, 1000, places=6), st.booleans())


@given(st.lists(events(), max_size=8), st.lists(prices, max_size=7, unique_by=lambda price: price.meter))
def test_the_sum_of_what_events_cost_is_the_cost_of_their_sums(some: list[UsageEvent], listed: list[Price]) -> None:
    known = {used.provider for event in some for used in quantities(event)}
    book = PriceBook([sheet(*listed, provider=name, since=date(1970, 1, 1)) for name in sorted(known)])
    some = list({event.event_id: event for event in some}.values())
    exact = sum((event_cost(event, book).get("EUR", Fraction(0)) for event in some), Fraction(0))
    lines = events_cost(some, book)
    difference = totals_by_currency(lines).get("EUR", 0) - exact * 1_000_000
    assert abs(difference) <= Fraction(len(lines), 2)


# --- closed months ---


def september(*turns: UsageEvent) -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.append(turns)
    return ledger


def total(ledger: MemoryLedger, book: PriceBook) -> dict[str, int]:
    return dict(cost_of(ledger, DayQuery(), book).micros())


TEN = sheet(price("tts_characters", "million", "10"))
CHEAP = PriceBook([TEN])
DEAR = PriceBook([TEN, sheet(price("tts_characters", "million", "99"), since=date(2026, 9, 1))])


def test_a_sheet_added_later_changes_an_open_month_and_never_a_closed_one() -> None:
    ledger = september(turn(1, tts_characters=1_000))
    assert (total(ledger, CHEAP), total(ledger, DEAR)) == ({"EUR": 10_000}, {"EUR": 99_000})
    statement = close_month(ledger, "2026-09", CHEAP, OCTOBER_MS)
    assert totals_by_currency(statement.lines) == {"EUR": 10_000}
    assert total(ledger, DEAR) == {"EUR": 10_000}
    assert close_month(ledger, "2026-09", DEAR, OCTOBER_MS + 1) == statement


def test_what_is_entered_after_the_closing_leaves_the_statement_and_counts_by_its_sheets() -> None:
    ledger = september(turn(1, tts_characters=1_000))
    statement = close_month(ledger, "2026-09", CHEAP, OCTOBER_MS)
    ledger.append([turn(2, tts_characters=500)])
    ledger.append([as_correction(turn(1), turn(1, tts_characters=200))])
    assert close_month(ledger, "2026-09", DEAR, OCTOBER_MS) == statement
    assert total(ledger, DEAR) == {"EUR": 7_000}


def test_only_the_months_own_days_are_in_its_statement() -> None:
    days = [date_day(date(2026, *day)) * DAY_MS for day in ((8, 31), (9, 10), (10, 1))]
    ledger = september(*(turn(n, tts_characters=10**n, started_at=at) for n, at in enumerate(days)))
    assert [line.amount for line in close_month(ledger, "2026-09", CHEAP, OCTOBER_MS).lines] == [10]


def test_a_month_is_not_closed_before_it_has_ended() -> None:
    last = date_day(date(2026, 10, 1)) * DAY_MS
    with pytest.raises(PeriodNotOver):
        close_month(september(), "2026-09", CHEAP, last - 1)
    assert close_month(september(), "2026-09", CHEAP, last).lines == ()


@pytest.mark.parametrize(("period", "days"), [("2026-02", 28), ("2028-02", 29), ("2026-12", 31)])
def test_months_are_as_long_as_they_are(period: str, days: int) -> None:
    query = month_days(period)
    assert query.first_day is not None
    assert query.day_before == query.first_day + days


def test_cost_is_the_same_from_a_ledger_and_from_its_events() -> None:
    turns = [turn(n, tts_characters=17 * n, audio_ms_in=999 * n) for n in range(30)]
    assert cost_lines(september(*turns).amounts(DayQuery()), CHEAP) == events_cost(turns, CHEAP)
