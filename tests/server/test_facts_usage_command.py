"""``convergio-voice usage`` and the CSV export tell everything that is counted."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.codec import COUNT_FIELDS
from metering.report import CSV_COLUMNS, csv_export
from metering.sqlite_ledger import SqliteLedger
from server.cli.usage import command
from tests.metering.usage_events import numbered


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    ledger = SqliteLedger(tmp_path / "usage.sqlite3")
    ledger.append([replace(numbered(1_000), call_ms=61_500, tool_calls=2, tts_characters=80)])
    ledger.close()
    (tmp_path / "journal").mkdir()
    return tmp_path


def test_the_table_is_followed_by_every_stage(data_dir: Path) -> None:
    told = CliRunner().invoke(command, ["--data-dir", str(data_dir)]).output
    assert "audio in, s: received 4.000, speech 1.001, recognised 1.001" in told
    assert "audio out, s: made 3.000, sent 3.000, heard 2.000, characters 80" in told
    assert "of them reasoning 1" in told
    assert "tools: calls 2, s 0.010" in told
    assert "telephone: s 61.500" in told


def test_a_table_made_before_is_still_read_by_position_and_the_new_columns_follow() -> None:
    at = CSV_COLUMNS.index("overtaken_tokens")
    assert CSV_COLUMNS[9:18] == (
        "audio_in_s",
        "audio_out_s",
        "audio_synthesized_s",
        *COUNT_FIELDS[3:9],
    )
    assert CSV_COLUMNS[at + 1 :] == (
        "audio_received_s",
        "audio_speech_s",
        "audio_sent_s",
        "reasoning_tokens",
        "tool_s",
        "call_s",
        "audio_ticks_received",
        "audio_ticks_sent",
    )
    event = replace(numbered(1_000), call_ms=61_500)
    row = next(csv.DictReader(io.StringIO(b"".join(csv_export([event])).decode())))
    assert (row["audio_received_s"], row["call_s"], row["audio_ticks_received"]) == ("4.000", "61.500", "192003")
