"""The journal's lines: what each says, and how a damaged one is told from a whole one. Pure.

One JSON array per line, its checksum first: ``["<crc32>","<kind>",{event}]``. The CRC-32 (that of zlib, RFC 1952
section 8) covers the bytes from ``"<kind>"`` up to the closing bracket, exactly as they stand in the file.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

from metering.codec import from_dict, to_json
from metering.errors import InvalidUsageEvent, JournalLineDamaged
from metering.usage import UsageEvent

_PREFIX_BYTES = len(b'["00000000",')


@dataclass(frozen=True, slots=True)
class TurnOpened:
    """A turn runs; ``event`` is what is known of it so far. The latest one of a request counts."""

    event: UsageEvent


@dataclass(frozen=True, slots=True)
class UsageRecorded:
    """A usage event, final."""

    event: UsageEvent


Entry = TurnOpened | UsageRecorded


def encode_line(entry: Entry) -> bytes:
    """The entry's line, newline included. Raises InvalidUsageEvent."""
    kind = b'"open",' if isinstance(entry, TurnOpened) else b'"event",'
    body = kind + to_json(entry.event)
    return b'["%08x",%b]\n' % (zlib.crc32(body), body)


def decode_line(line: bytes) -> Entry:
    """The entry of one line (without its newline). Raises JournalLineDamaged."""
    body = line[_PREFIX_BYTES:-1]
    if line[:2] != b'["' or line[10:_PREFIX_BYTES] != b'",' or line[-1:] != b"]":
        raise JournalLineDamaged("not a journal line")
    if line[2:10] != b"%08x" % zlib.crc32(body):
        raise JournalLineDamaged("the checksum does not hold")
    try:
        entry: list[Any] = json.loads(b"[" + body + b"]")
        kind, plain = entry
        event = from_dict(plain)
    except (ValueError, TypeError, AttributeError, RecursionError, InvalidUsageEvent) as error:
        raise JournalLineDamaged("whole, but not written by this version") from error
    match kind:
        case "open":
            return TurnOpened(event)
        case "event":
            return UsageRecorded(event)
        case _:
            raise JournalLineDamaged("of an unknown kind")
