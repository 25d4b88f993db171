"""What is asked about usage, from a query's text to values. Pure.

Knows no HTTP: whoever drives it (``server.routes.usage``, ``convergio-voice usage``) tells what ``BadFilter`` says.
Periods go from inclusive to exclusive, and days are UTC days.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, get_args

from metering.ledger import PageRequest, UsageQuery
from metering.pricing.book import date_day, day_date
from metering.pricing.closing import month_days
from metering.rollup import DAY_MS
from metering.usage import Mode
from server.contracts.transport import TRANSPORTS
from server.latency_view import BadFilter

DEFAULT_LIMIT: Final = 100
MOST_EVENTS: Final = 1_000
MOST_ROWS: Final = 2_000
"""Of a report."""
MOST_DAYS: Final = 400
EVENT_FILTERS: Final = ("user", "agent", "mode", "session", "transport", "success", "replaced")

_DAYS: Final = re.compile(r"([1-9][0-9]{0,3})d")
_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNIT_MS: Final[Mapping[str, int]] = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_LAST_MS: Final = 253_402_300_799_999
_MODES: Final = frozenset(get_args(Mode))
_COUNT: Final = re.compile(r"[1-9][0-9]{0,5}")
_CURSOR: Final = re.compile(r"([ad])([1-9][0-9]{0,17}|0)")


@dataclass(frozen=True, slots=True)
class Days:
    """Days since 1970-01-01, from inclusive to exclusive."""

    first: int
    before: int


def report_days(given: Mapping[str, str], now_ms: int) -> Days:
    """The days of ``month`` (2026-11), or of ``since`` (2026-11-01, or 30d: the last 30 days with today) and ``until``.

    This month by default. Raises BadFilter.
    """
    today = now_ms // DAY_MS
    if (month := given.get("month")) is not None:
        if "since" in given or "until" in given:
            raise BadFilter("month goes without since and until.")
        return named_month(month)
    before = today + 1 if (until := given.get("until")) is None else _day(until, "until")
    since = given.get("since")
    if since is None:
        first = date_day(day_date(min(today, before - 1)).replace(day=1))
    elif (span := _DAYS.fullmatch(since)) is not None:
        first = before - int(span[1])
    else:
        first = _day(since, "since")
    if not first < before:
        raise BadFilter("since must be before until.")
    if before - first > MOST_DAYS:
        raise BadFilter(f"a report is over at most {MOST_DAYS} days.")
    return Days(max(0, first), before)


def named_month(text: str) -> Days:
    """The days of a month such as 2026-11. Raises BadFilter."""
    if not _MONTH.fullmatch(text) or not "1970" <= text < "9999":
        raise BadFilter("a month is written like 2026-11.")
    days = month_days(text)
    return Days(days.first_day or 0, days.day_before or 0)


def moment_ms(text: str, name: str, now_ms: int) -> int:
    """A moment: a span back from now (``24h``, ``7d``), a day, or RFC 3339. Raises BadFilter."""
    if (span := _SPAN.fullmatch(text)) is not None:
        return max(0, now_ms - int(span[1]) * _UNIT_MS[span[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadFilter(f"{name} must be a span such as 24h or 7d, a day, or a moment of RFC 3339.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0, round(moment.timestamp() * 1_000)), _LAST_MS)


def event_query(given: Mapping[str, str], tenant_id: str, now_ms: int) -> UsageQuery:
    """The events that the filters choose. Raises BadFilter."""
    mode, transport = given.get("mode"), given.get("transport")
    if mode is not None and mode not in _MODES:
        raise BadFilter(f"mode must be one of {', '.join(sorted(_MODES))}.")
    if transport is not None and transport not in TRANSPORTS:
        raise BadFilter(f"transport must be one of {', '.join(TRANSPORTS)}.")
    bounds = {name: moment_ms(given[name], name, now_ms) for name in ("since", "until") if name in given}
    return UsageQuery(
        tenant_id=tenant_id,
        user_id=given.get("user"),
        session_id=given.get("session"),
        agent_id=given.get("agent"),
        transport=transport,
        mode=mode,
        success=_flag(given, "success"),
        started_from=bounds.get("since"),
        started_before=bounds.get("until"),
        replaced=_flag(given, "replaced") or False,
    )


def page_request(given: Mapping[str, str]) -> PageRequest:
    """How much, in which order, and from where. Raises BadFilter."""
    order = given.get("order", "asc")
    if order not in ("asc", "desc"):
        raise BadFilter("order must be asc or desc.")
    limit = limit_of(given, MOST_EVENTS)
    cursor = None
    if (text := given.get("cursor")) is not None:
        found = _CURSOR.fullmatch(text)
        if found is None or found[1] != order[0]:
            raise BadFilter("cursor must be a next_cursor of the same order.")
        cursor = int(found[2])
    return PageRequest(cursor, limit, newest_first=order == "desc")


def limit_of(given: Mapping[str, str], most: int) -> int:
    """``limit``: how many, at most. Raises BadFilter."""
    text = given.get("limit", str(DEFAULT_LIMIT))
    if not _COUNT.fullmatch(text) or int(text) > most:
        raise BadFilter(f"limit must be from 1 to {most}.")
    return int(text)


def cursor_text(sequence: int, *, newest_first: bool) -> str:
    """A place in the ledger as clients get it."""
    return f"{'d' if newest_first else 'a'}{sequence}"


def _day(text: str, name: str) -> int:
    try:
        day = date_day(date.fromisoformat(text))
    except ValueError:
        raise BadFilter(
            f"{name} must be a day such as 2026-11-27{' or a span such as 30d' * (name == 'since')}."
        ) from None
    return max(0, day)


def _flag(given: Mapping[str, str], name: str) -> bool | None:
    match given.get(name):
        case None:
            return None
        case "true":
            return True
        case "false":
            return False
        case _:
            raise BadFilter(f"{name} must be true or false.")
