"""What can go wrong with facts.

MeteringError
├── InvalidUsageEvent       the event is not one (field): a programming fault of whoever built it
├── JournalLineDamaged      a journal line is not what was written
├── LedgerError             the ledger could not do its work (retryable)
│   ├── LedgerUnavailable   locked, full, gone, unreadable; trying again may help
│   └── LedgerIncompatible  the database was made by a newer version
├── PriceSheetError         a price sheet cannot be used; ``problems`` are sentences for the operator
├── PeriodNotOver           a month cannot be closed before it has ended
├── RecorderOverloaded      so much waits to become durable that no further turn may begin
└── RecorderClosed          the recorder is not running: nothing is taken
"""

from __future__ import annotations

from typing import ClassVar


class MeteringError(Exception):
    """Base of everything this room raises on purpose."""


class InvalidUsageEvent(MeteringError):
    """A value that is no usage event. ``field`` names the offender."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class JournalLineDamaged(MeteringError):
    """A journal line whose checksum or content does not hold."""


class LedgerError(MeteringError):
    """The ledger failed; nothing of the failed call may be counted on."""

    retryable: ClassVar[bool] = True


class LedgerUnavailable(LedgerError):
    """The database is locked, full, gone or unreadable for now."""


class LedgerIncompatible(LedgerError):
    """The database's schema is newer than this program."""

    retryable = False


class PriceSheetError(MeteringError):
    """A sheet that is malformed, or contradicts another. ``problems`` are sentences, one per fault."""

    def __init__(self, sheet: str, faults: tuple[str, ...]) -> None:
        self.problems = tuple(f"{sheet}: {fault}." for fault in faults)
        super().__init__(" ".join(self.problems))


class PeriodNotOver(MeteringError):
    """The month has not ended."""


class RecorderOverloaded(MeteringError):
    """Too many events wait to become durable: a turn that could not be metered does not begin. Maps to
    ``server.overloaded``."""

    retryable: ClassVar[bool] = True


class RecorderClosed(MeteringError):
    """The recorder is not running, or ended before this event could be made durable."""
