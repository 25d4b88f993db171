"""Finds the tool a user plainly asks for, for models that cannot call tools themselves.

Pure rules over the user's words: an intent is a pattern, the arguments it yields, and the sentence that says the
result. It only answers when the whole question fits; everything else is the model's. English only, as data. Driven by
``agents.loop.agent`` where the model's profile has no tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from agents.loop.spoken_numbers import to_expression
from agents.models.port import ToolRequest

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Intent:
    """One kind of question. ``pattern`` matches the plain question whole.

    ``arguments`` are the tool's, from the match; ``None`` where it is no such question after all. ``say`` makes the
    spoken answer from the arguments and the tool's result.
    """

    tool: str
    pattern: re.Pattern[str]
    arguments: Callable[[re.Match[str]], dict[str, Any] | None]
    say: Callable[[Values, Values], str]


@dataclass(frozen=True, slots=True)
class Route:
    """A question a tool can answer."""

    request: ToolRequest
    intent: Intent

    def answer(self, output: str) -> str:
        """The tool's JSON answer as a spoken sentence."""
        return self.intent.say(json.loads(self.request.arguments), json.loads(output))


class OfflineRouter:
    """Intents in order; the first that fits."""

    def __init__(self, intents: tuple[Intent, ...] | None = None, locale: str = "en-US") -> None:
        """Without ``intents``, the built-in ones of the locale's language; only English has any."""
        english = locale.split("-", maxsplit=1)[0].lower() == "en"
        self._intents = intents if intents is not None else ENGLISH_INTENTS if english else ()

    def route(self, text: str, call_id: str = "routed") -> Route | None:
        """What the user plainly asks for, if a tool answers it."""
        question = _plain(text)
        for intent in self._intents:
            match = intent.pattern.fullmatch(question)
            arguments = intent.arguments(match) if match else None
            if arguments is not None:
                return Route(ToolRequest(call_id, intent.tool, json.dumps(arguments, ensure_ascii=False)), intent)
        return None


_POLITE_START: Final = re.compile(
    r"^(?:(?:hey|hi|hello|ok|okay|well|so|um|uh|please|and|now|thanks|convergio)[ ,]+)+"
    r"|^(?:can|could|would|will) you (?:please )?(?:just )?(?:tell me|say|calculate|compute) "
    r"|^(?:please )?tell me |^do you (?:know|have) |^i(?:'d| would) like to know |^i want to know "
)
_POLITE_END: Final = re.compile(r"[ ,]+(?:please|thanks|thank you|right now|now|currently|today|for me|convergio)$")


def _plain(text: str) -> str:
    """Lower case, one space, without what is only polite."""
    plain = " ".join(text.lower().replace("’", "'").split()).strip(" .?!")
    for pattern in (_POLITE_START, _POLITE_END):
        while (shorter := pattern.sub("", plain)) != plain:
            plain = shorter.strip(" .?!,")
    return plain


def _place(match: re.Match[str]) -> dict[str, Any]:
    place = match["place"]
    return {} if not place or place in {"here", "my place"} else {"place": place}


def _sum(match: re.Match[str]) -> dict[str, Any] | None:
    expression = to_expression(match["sum"])
    return None if expression is None else {"expression": expression}


def _clock(hhmm: str) -> str:
    hour, minute = (int(part) for part in hhmm.split(":"))
    half = "AM" if hour < 12 else "PM"
    return f"{(hour - 1) % 12 + 1}:{minute:02} {half}"


def _say_time(arguments: Values, result: Values) -> str:
    where = f" in {arguments['place'].title()}" if "place" in arguments else ""
    return f"It's {_clock(result['time'])}{where}."


def _say_date(arguments: Values, result: Values) -> str:
    where = f" in {arguments['place'].title()}" if "place" in arguments else ""
    year, month, day = (int(part) for part in result["date"].split("-"))
    return f"It's {result['weekday']}, {_MONTHS[month - 1]} {day}, {year}{where}."


def _say_sum(_: Values, result: Values) -> str:
    """Nobody wants to hear twelve digits."""
    exact = Decimal(result["result"])
    if abs(exact) >= _SPOKEN_LIMIT:
        return f"That's about {exact:.3E}.".replace("E+", " times 10 to the power of ")
    heard = round(exact, 4).normalize()
    return f"That's {heard:f}." if heard == exact else f"That's about {heard:f}."


_SPOKEN_LIMIT: Final = 10**12
_MONTHS: Final = "January February March April May June July August September October November December".split()
_IN: Final = r"(?: (?:it is |is it )?(?:in|at|over in) (?P<place>[^\d?]{2,60}))?"

ENGLISH_INTENTS: Final[tuple[Intent, ...]] = (
    Intent(
        "current_time",
        re.compile(rf"(?:what(?:'s| is)? (?:the )?(?:current |exact )?time(?: is it| it is)?|the time){_IN}"),
        _place,
        _say_time,
    ),
    Intent(
        "current_time",
        re.compile(
            r"(?:what(?:'s| is)? (?:the |today's )?(?:current )?(?:date|day)"
            r"(?: is it| it is| is today| of the week is it)?"
            rf"|what's today|what (?:month|year) is it|today's date|the date){_IN}"
        ),
        _place,
        _say_date,
    ),
    Intent(
        "calculate",
        re.compile(r"(?:what(?:'s| is| are)|how much (?:is|are)|calculate|compute|work out)? ?(?P<sum>.{3,120})"),
        _sum,
        _say_sum,
    ),
)
