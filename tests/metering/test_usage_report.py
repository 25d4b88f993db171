from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage_events import DAY_MS, FIRST_MS, events, numbered

from metering.codec import from_json
from metering.ledger import UsageTotals
from metering.report import CSV_COLUMNS, csv_export, jsonl_export, seconds, summarise, timestamp
from metering.usage import UsageEvent


@pytest.mark.parametrize(("ms", "text"), [(0, "0.000"), (1, "0.001"), (999, "0.999"), (61_500, "61.500")])
def test_seconds_have_exactly_three_decimals(ms: int, text: str) -> None:
    assert str(seconds(ms)) == text


@given(st.integers(0, 2**200))
def test_seconds_lose_nothing_however_large(ms: int) -> None:
    assert int(str(seconds(ms)).replace(".", "")) == ms


@given(st.lists(events()), st.sampled_from(["day", "agent", "mode"]))
def test_groups_add_up_to_the_whole(some: list[UsageEvent], by: str) -> None:
    rows = summarise(some, by)  # pyright: ignore[reportArgumentType]
    total = UsageTotals()
    for row in rows:
        total = total.plus(row.totals)
    assert total == UsageTotals.of(some)
    assert [row.key for row in rows] == sorted({row.key for row in rows})


def test_days_are_utc_days() -> None:
    midnight = FIRST_MS - FIRST_MS % DAY_MS
    late, early = replace(numbered(1), started_at=midnight - 1), replace(numbered(2), started_at=midnight)
    rows = summarise([late, early], "day")
    assert [(row.key, row.totals.audio_ms_in) for row in rows] == [("2026-09-20", 2), ("2026-09-21", 3)]


def test_totals_count_failed_interrupted_and_estimated_events() -> None:
    totals = UsageTotals.of([numbered(0), numbered(1), replace(numbered(2), success=False, estimated=True)])
    assert (totals.events, totals.failed, totals.interrupted, totals.estimated) == (3, 1, 1, 1)


def test_a_timestamp_is_rfc_3339_in_utc() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(253_402_300_799_999) == "9999-12-31T23:59:59.999Z"


@given(st.lists(events(), max_size=5))
def test_jsonl_reads_back_as_the_same_events_and_its_checksum_is_that_of_the_bytes(some: list[UsageEvent]) -> None:
    export = jsonl_export(some)
    data = b"".join(export)
    assert [from_json(line) for line in data.split(b"\n") if line] == some
    assert (export.sha256, export.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_csv_has_seconds_times_and_a_header() -> None:
    data = b"".join(csv_export([replace(numbered(1234), error_code="provider.timeout", success=False)])).decode()
    row = next(csv.DictReader(io.StringIO(data)))
    assert tuple(row) == CSV_COLUMNS
    assert Decimal(row["audio_in_s"]) == Decimal("1.235")
    assert row["audio_out_s"] == "2.468"
    assert row["started_at"] == timestamp(numbered(1234).started_at)
    assert (row["success"], row["error_code"], row["corrects"]) == ("false", "provider.timeout", "")


def test_csv_tells_what_was_late_and_what_went_to_models_in_vain() -> None:
    late = replace(numbered(6), breaches={"agent": "hedge"}, overtaken_tokens=5)
    row = next(csv.DictReader(io.StringIO(b"".join(csv_export([late])).decode())))
    assert (row["breaches"], row["overtaken_tokens"], row["output_tokens"]) == ('{"agent":"hedge"}', "5", "6")


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_csv_text_that_looks_like_a_formula_is_made_inert(start: str) -> None:
    data = b"".join(csv_export([replace(numbered(1), user_id=start + "1+1")])).decode()
    assert next(csv.DictReader(io.StringIO(data)))["user_id"] == "'" + start + "1+1"


def test_a_large_export_comes_in_chunks() -> None:
    export = csv_export(numbered(n) for n in range(2000))
    chunks = list(export)
    assert len(chunks) > 3
    assert max(map(len, chunks)) < 70_000
    assert export.sha256 == hashlib.sha256(b"".join(chunks)).hexdigest()
