"""What the records' database raises.

RecordsError
├── RecordsUnavailable    it cannot be reached, or is too busy: try again later
├── RecordsIncompatible   its schema is one this program does not know
└── RecordConflict        a record of that identity is there already
"""

from __future__ import annotations


class RecordsError(Exception):
    """Base of all of them."""


class RecordsUnavailable(RecordsError):
    """It cannot be reached, or is too busy; try again later."""


class RecordsIncompatible(RecordsError):
    """Its schema is newer than this program, or not of ours."""


class RecordConflict(RecordsError):
    """A record of that identity is there already."""
