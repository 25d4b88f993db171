"""The records: what a server keeps beside its usage ledger, in one database, on SQLite or PostgreSQL."""

from metering.records.area import Area
from metering.records.database import Records
from metering.records.errors import RecordConflict, RecordsError, RecordsIncompatible, RecordsUnavailable

__all__ = ["Area", "RecordConflict", "Records", "RecordsError", "RecordsIncompatible", "RecordsUnavailable"]
