"""A file of usage events in the making: CSV or JSON Lines, with its checksum and what it holds known before it is sent.

HTTP says how long a body is and what its digest is before the body, so the file is made first: in the data directory,
without a name (it is gone with the process, however that ends), up to a size, within a time. Memory stays at a page of
events. Blocks; driven by ``server.routes.usage`` in a worker thread.
"""

from __future__ import annotations

import base64
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from metering.ledger import Ledger, UsageQuery, UsageTotals, read_all
from metering.report import Export, csv_export, jsonl_export, timestamp
from metering.usage import UsageEvent
from metering.user_sums import TurnSums
from server.contracts.usage_reports import ExportMetadata
from server.usage_view import sums_of

Format = Literal["csv", "jsonl"]
MOST_BYTES: Final = 1 << 30
MAKE_LIMIT_S: Final = 300.0
MEDIA_TYPES: Final[Mapping[Format, str]] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


class ExportTooLarge(Exception):
    """The file would be larger, or take longer, than a file may; the message is a sentence."""


class ExportAbandoned(Exception):
    """Nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """Which events, as what; ``filters`` are those of the query in the words they were asked in."""

    query: UsageQuery
    format: Format
    filters: Mapping[str, str]
    now_ms: int


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A whole file, at its beginning; whoever has it closes it."""

    file: BinaryIO
    metadata: ExportMetadata

    @property
    def name(self) -> str:
        """What to save it as."""
        return f"usage-{self.metadata.until[:10]}.{self.metadata.format}"

    @property
    def digest(self) -> str:
        """The digest as RFC 9530's header fields have it."""
        return f"sha-256=:{base64.b64encode(bytes.fromhex(self.metadata.sha256)).decode()}:"


def make_export(ledger: Ledger, order: ExportOrder, directory: Path, abandoned: threading.Event) -> ExportFile:
    """Make the file. Raises LedgerError, ExportTooLarge, ExportAbandoned, OSError."""
    counting = _Counting()
    write = csv_export if order.format == "csv" else jsonl_export
    made = write(counting.through(read_all(ledger, order.query)))
    file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - given out open
    try:
        _fill(file, made, abandoned)
    except BaseException:
        file.close()
        raise
    query = order.query
    metadata = ExportMetadata(
        format=order.format,
        generated_at=timestamp(order.now_ms),
        tenant_id=query.tenant_id or "*",
        since=None if query.started_from is None else timestamp(query.started_from),
        until=timestamp(order.now_ms if query.started_before is None else query.started_before),
        filters=dict(order.filters),
        events=counting.sums.events,
        bytes=made.size_bytes,
        sha256=made.sha256,
        sums=sums_of(counting.sums),
    )
    return ExportFile(file, metadata)


def _fill(file: BinaryIO, made: Export, abandoned: threading.Event) -> None:
    limit_s = time.monotonic() + MAKE_LIMIT_S
    for chunk in made:
        if abandoned.is_set():
            raise ExportAbandoned
        if made.size_bytes > MOST_BYTES or time.monotonic() > limit_s:
            raise ExportTooLarge("That is too much for one file: choose a shorter period.")
        file.write(chunk)
    file.seek(0)


class _Counting:
    """What goes by, summed."""

    def __init__(self) -> None:
        self.sums = TurnSums()

    def through(self, events: Iterator[UsageEvent]) -> Iterator[UsageEvent]:
        for event in events:
            self.sums = self.sums.plus(TurnSums.of(UsageTotals.of([event])))
            yield event
