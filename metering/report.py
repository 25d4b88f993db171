"""Usage told to people: summaries and exports. Pure: events in, rows and bytes out.

Driven by the CLI and the HTTP routes, which read the events from a ledger and write the bytes somewhere. Everything
is summed in integers; milliseconds become seconds once, here, at the very end. Days are UTC days.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from metering.codec import COUNT_FIELDS, PART_FIELDS, dumps, to_dict, to_json
from metering.ledger import UsageTotals
from metering.usage import UsageEvent

Grouping = Literal["day", "agent", "mode"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK_BYTES = 1 << 16
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SECONDS_COLUMNS = {
    "audio_ms_in": "audio_in_s",
    "audio_ms_out": "audio_out_s",
    "audio_ms_synthesized": "audio_synthesized_s",
    "audio_ms_received": "audio_received_s",
    "audio_ms_speech": "audio_speech_s",
    "audio_ms_sent": "audio_sent_s",
    "tool_ms": "tool_s",
    "call_ms": "call_s",
}
_FIRST_COUNTS: Final = COUNT_FIELDS[: COUNT_FIELDS.index("tool_calls") + 1]
_LATER_COUNTS: Final = COUNT_FIELDS[len(_FIRST_COUNTS) :]
"""Columns that came later stand at the end, so that a table made before is still read by position."""
_TEXT_COLUMNS = ("event_id", "request_id", "tenant_id", "user_id", "session_id", "agent_id", "mode")

CSV_COLUMNS = (
    *_TEXT_COLUMNS,
    "started_at",
    "ended_at",
    *(_SECONDS_COLUMNS.get(name, name) for name in _FIRST_COUNTS),
    "interrupted",
    "success",
    "error_code",
    "estimated",
    "corrects",
    "transport",
    "providers",
    "latency_ms",
    "shares",
    "latency_start_ms",
    "breaches",
    "overtaken_tokens",
    *(_SECONDS_COLUMNS.get(name, name) for name in _LATER_COUNTS),
    *(name for name in PART_FIELDS if name != "overtaken_tokens"),
)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The totals of one day (``2026-07-30``), agent or lane."""

    key: str
    totals: UsageTotals


def seconds(ms: int) -> Decimal:
    """Whole milliseconds as seconds with exactly three decimals."""
    return Decimal(f"{ms}E-3")


def timestamp(epoch_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def summarise(events: Iterable[UsageEvent], by: Grouping) -> tuple[SummaryRow, ...]:
    """Totals per day, agent or lane, in the order of their keys. Give it current events (see UsageQuery)."""
    key = _KEYS[by]
    groups: dict[str, UsageTotals] = {}
    for event in events:
        name = key(event)
        groups[name] = groups.get(name, UsageTotals()).plus(UsageTotals.of([event]))
    return tuple(SummaryRow(name, groups[name]) for name in sorted(groups))


_KEYS: dict[Grouping, Callable[[UsageEvent], str]] = {
    "day": lambda event: timestamp(event.started_at)[:10],
    "agent": lambda event: event.agent_id,
    "mode": lambda event: event.mode,
}


class Export:
    """A file in the making: iterate it for its bytes in chunks; then the other attributes describe what was made."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        chunk = bytearray()
        for line in self._lines:
            chunk += line
            if len(chunk) >= _CHUNK_BYTES:
                yield self._counted(chunk)
                chunk = bytearray()
        if chunk:
            yield self._counted(chunk)

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes given out so far, in hexadecimal."""
        return self._digest.hexdigest()

    def _counted(self, chunk: bytearray) -> bytes:
        self._digest.update(chunk)
        self.size_bytes += len(chunk)
        return bytes(chunk)


def jsonl_export(events: Iterable[UsageEvent]) -> Export:
    """One JSON object per line, as the contract names the fields: whole milliseconds, nothing rounded."""
    return Export(to_json(event) + b"\n" for event in events)


def csv_export(events: Iterable[UsageEvent]) -> Export:
    """A table for spreadsheets (RFC 4180, UTF-8): seconds with three decimals, RFC 3339 times.

    A text that a spreadsheet would run as a formula is given a leading apostrophe (OWASP, CSV Injection).
    """
    return Export(_csv_lines(events))


def _csv_lines(events: Iterable[UsageEvent]) -> Iterator[bytes]:
    yield _csv_line(CSV_COLUMNS)
    for event in events:
        yield _csv_line(_cells(event))


def _csv_line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def _cells(event: UsageEvent) -> Iterator[str]:
    plain = to_dict(event)
    for name in _TEXT_COLUMNS:
        yield inert(plain[name])
    yield timestamp(event.started_at)
    yield timestamp(event.ended_at)
    yield from _counts(plain, _FIRST_COUNTS)
    yield _flag(event.interrupted)
    yield _flag(event.success)
    yield inert(event.error_code or "")
    yield _flag(event.estimated)
    yield event.corrects or ""
    yield inert(event.transport or "")
    yield dumps(plain["providers"])
    yield dumps(plain["latency_ms"])
    yield dumps(plain["shares"])
    yield dumps(plain["latency_start_ms"])
    yield dumps(plain["breaches"])
    yield str(event.overtaken_tokens)
    yield from _counts(plain, _LATER_COUNTS)
    yield str(event.audio_ticks_received)
    yield str(event.audio_ticks_sent)


def _counts(plain: dict[str, Any], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield str(seconds(plain[name])) if name in _SECONDS_COLUMNS else str(plain[name])


def _flag(value: bool) -> str:
    return "true" if value else "false"


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text.lstrip(" ").startswith(_FORMULA_STARTS) else text
