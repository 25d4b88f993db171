"""The tools every agent may have: what time it is somewhere, and arithmetic. Both read-only.

The clock comes in from outside, ``system_clock`` at the edge. Knows no model.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field

from agents.errors import ToolError
from agents.tools.calculator import calculate
from agents.tools.tool import Tool, tool

Clock = Callable[[], datetime]
"""Now, with a time zone; that zone is where the server (and by default the user) is."""

PLACES: Final[Mapping[str, str]] = {
    "argentina": "America/Argentina/Buenos_Aires",
    "bangalore": "Asia/Kolkata",
    "beijing": "Asia/Shanghai",
    "boston": "America/New_York",
    "california": "America/Los_Angeles",
    "china": "Asia/Shanghai",
    "delhi": "Asia/Kolkata",
    "england": "Europe/London",
    "france": "Europe/Paris",
    "germany": "Europe/Berlin",
    "greece": "Europe/Athens",
    "greenwich": "UTC",
    "india": "Asia/Kolkata",
    "italy": "Europe/Rome",
    "miami": "America/New_York",
    "milan": "Europe/Rome",
    "mumbai": "Asia/Kolkata",
    "munich": "Europe/Berlin",
    "nigeria": "Africa/Lagos",
    "pakistan": "Asia/Karachi",
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "south africa": "Africa/Johannesburg",
    "south korea": "Asia/Seoul",
    "spain": "Europe/Madrid",
    "sweden": "Europe/Stockholm",
    "switzerland": "Europe/Zurich",
    "texas": "America/Chicago",
    "thailand": "Asia/Bangkok",
    "uk": "Europe/London",
    "united kingdom": "Europe/London",
    "utc": "UTC",
    "washington": "America/New_York",
}
"""Places people name that are no city of the time-zone database."""


def system_clock() -> datetime:
    """The computer's clock in its own time zone."""
    return datetime.now(UTC).astimezone()  # noqa: TID251 - the adapter of the wall clock for tools


def builtin_tools(clock: Clock = system_clock) -> tuple[Tool, ...]:
    """``current_time`` and ``calculate``."""

    @tool(effects=False, limit_s=5.0)
    def current_time(
        place: Annotated[str | None, Field(max_length=80)] = None,
    ) -> dict[str, Any]:
        """Tell the current date and time, here or at another place.

        Args:
            place: a city, country or IANA time zone, such as "Tokyo" or "Europe/Rome"; leave it out for here.
        """
        now = clock() if place is None else clock().astimezone(find_zone(place))
        return {
            "date": now.strftime("%Y-%m-%d"),
            "time": now.strftime("%H:%M"),
            "weekday": now.strftime("%A"),
            "time_zone": now.tzname(),
        }

    @tool(effects=False, limit_s=2.0, name="calculate")
    def calculate_expression(expression: Annotated[str, Field(max_length=200)]) -> dict[str, str]:
        """Calculate an arithmetic expression exactly.

        Args:
            expression: such as "12 * (7 + 3.5)", "15% of 80", "2^10" or "sqrt(2)".
        """
        return {"result": calculate(expression)}

    return (current_time, calculate_expression)


def find_zone(place: str) -> tzinfo:
    """The time zone of a city, a country or an IANA name. Reads the time-zone database: not on the event loop.

    Raises:
        ToolError: no such place is known.
    """
    wanted = _plain(place)
    if wanted in PLACES:
        return _zone(PLACES[wanted], place)
    names = sorted(available_timezones())
    for name in names:
        if _plain(name) == wanted:
            return _zone(name, place)
    for name in names:
        if "/" in name and _plain(name.rpartition("/")[2]) == wanted:
            return _zone(name, place)
    raise ToolError(f"No time zone is known for {place}.")


def _zone(name: str, place: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        raise ToolError(f"No time zone is known for {place}.") from error


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name)
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(letters.replace("_", " ").replace("-", " ").replace(".", "").lower().split()).removeprefix("the ")
