"""English text as it is read aloud: money, times, dates, units, phone numbers, ordinals, ranges, abbreviations.

Pure rules over the data of ``agents.loop.spoken_english``, applied in order to text without markup. They only replace
what a voice would get wrong, and nothing they write is changed by running them again. Driven by
``agents.loop.speakable``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from agents.loop.spoken_english import (
    ABBREVIATIONS,
    CURRENCIES,
    FRACTIONS,
    MAGNITUDES,
    MONTHS,
    NUMBER_WORDS,
    OPERATORS,
    ORDINALS,
    SYMBOLS,
    TENS,
    UNITS,
)

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def in_words(text: str) -> str:
    """``text`` with what is not written as words turned into words."""
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    return text


def ordinal(number: int) -> str:
    """A whole number from 0 to 999 as a rank: "twenty-first"."""
    head, space, last = _cardinal(number).rpartition(" ")
    stem, dash, last = last.rpartition("-")
    regular = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return head + space + stem + dash + ORDINALS.get(last, regular)


def _cardinal(number: int) -> str:
    if number < 20:
        return NUMBER_WORDS[number]
    if number < 100:
        tens, rest = divmod(number, 10)
        return TENS[tens] + (f"-{NUMBER_WORDS[rest]}" if rest else "")
    hundreds, rest = divmod(number, 100)
    return f"{NUMBER_WORDS[hundreds]} hundred" + (f" {_cardinal(rest)}" if rest else "")


def _date(match: re.Match[str]) -> str:
    year, month, day = match[1], int(match[2]), int(match[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    return f"{MONTHS[month - 1]} {ordinal(day)}, {year}"


def _phone(match: re.Match[str]) -> str:
    """A phone or card number digit by digit, with a pause between its groups; anything else as it was."""
    written = match[0]
    groups = re.findall(r"\d+", written)
    sizes = [len(group) for group in groups]
    total = sum(sizes)
    thousands = " " in written and sizes[0] <= 3 and set(sizes[1:]) == {3} and not written.startswith(("+", "("))
    if len(groups) == 1:
        dialled = total >= 10 or (groups[0].startswith("0") and total >= 4) or (written.startswith("+") and total >= 7)
    elif len(groups) == 2:
        # "555-1234", but the range "500-1000".
        dialled = sizes == [3, 4] and "-" in written and any(int(group) % 10 for group in groups)
    else:
        plain = re.fullmatch(r"[\d ]+", written) is not None
        dialled = (9 if plain else 7) <= total <= 19 and max(sizes) >= 3 and not thousands
    if not dialled:
        return written
    return ("plus " if written.startswith("+") else "") + ", ".join(" ".join(group) for group in groups)


def _time(match: re.Match[str]) -> str:
    hour, minute, second, half = int(match[1]), match[2], match[3], match[4]
    if minute != "00":
        said = f"{hour} oh {minute[1]}" if minute.startswith("0") else f"{hour} {minute}"
    else:
        said = f"{hour}" if half or second else f"{hour} o'clock"
    if second:
        said += f" and {int(second)} seconds"
    return f"{said} {_half(half, match)}" if half else said


def _half_day(match: re.Match[str]) -> str:
    return f"{match[1]} {_half(match[2], match)}"


def _half(half: str, match: re.Match[str]) -> str:
    """``a.m.`` as two letters; its last point stays where it also ends a sentence."""
    rest = match.string[match.end() :].lstrip()
    ends = half.endswith(".") and (not rest or rest[0].isupper())
    return f"{half[0].upper()} M{'.' if ends else ''}"


def _money(match: re.Match[str]) -> str:
    one, many, small, smalls = CURRENCIES[match["sign"] or match["after"]]
    amount, magnitude = match["amount"] or match["before"], match["magnitude"]
    if magnitude:
        return f"{amount} {MAGNITUDES[magnitude]} {many}"
    whole, _, cents = amount.partition(".")
    if len(cents) != 2:
        return f"{amount} {one if amount == '1' else many}"
    said = f"{whole} {one if whole == '1' else many}"
    if cents == "00":
        return said
    hundredths = f"{int(cents)} {small if cents == '01' else smalls}"
    return hundredths if whole == "0" else f"{said} and {hundredths}"


def _unit(match: re.Match[str]) -> str:
    number, space, name = match[1], match[2], match[3]
    if not space and len(name) == 1 and name.isalpha():
        return match[0]
    one, many = UNITS[name]
    return f"{number} {one if number == '1' else many}"


def _rank(match: re.Match[str]) -> str:
    return ordinal(int(match[1])) if len(match[1]) <= 3 else match[0]


def _abbreviation(match: re.Match[str]) -> str:
    rest = match.string[match.end() :].lstrip()
    ends = match[0] == "etc." and (not rest or rest[0].isupper())
    return ABBREVIATIONS[match[0]] + ("." if ends else "")


def _address(match: re.Match[str]) -> str:
    return match[0].replace("@", " at ").replace(".", " dot ").replace("_", " underscore ")


def _spaced(words: str) -> str:
    return f" {words} "


def _any_of(names: list[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


_NUMBER: Final = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_SIGN: Final = "[" + "".join(CURRENCIES) + "]"
_DOMAIN: Final = r"(?:com|org|net|io|ai|dev|app|edu|gov|info|eu|uk|de|fr|it|es|ca)"

_RULES: Final[tuple[Rule, ...]] = (
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), _address),
    (re.compile(rf"(?<![\w.])(?:[a-zA-Z][\w-]*\.)+{_DOMAIN}\b(?!\.?\w)"), _address),
    (re.compile(r"(?<![\w-])(\d{4})-(\d{2})-(\d{2})(?![\w-])"), _date),
    (
        re.compile(rf"(?<![\w.,:{''.join(CURRENCIES)}-])\+?\(?\d+\)?(?:[ .-]\(?\d+\)?|(?<=\)) ?\d+)*(?![\w%:])(?!,\d)"),
        _phone,
    ),
    (
        re.compile(rf"(?<![\w.,-])({_SIGN}?(?:{_NUMBER}))(?:-|\s?–\s?)(?={_SIGN}?\d[\d,.:]*(?!-))"),
        lambda m: f"{m[1]} to ",
    ),
    (re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(?:\s*([ap]\.?m\b\.?))?(?![:\d])", re.IGNORECASE), _time),
    (re.compile(r"\b(1[0-2]|[1-9])\s*([ap]\.?m\b\.?)", re.IGNORECASE), _half_day),
    (
        re.compile(
            rf"(?:(?P<sign>{_SIGN})\s?(?P<amount>{_NUMBER})|(?<![\w.,])(?P<before>{_NUMBER})\s?(?P<after>[€£])(?!\s?\d))"
            rf"(?:\s?(?P<magnitude>{_any_of(list(MAGNITUDES))})\b)?"
        ),
        _money,
    ),
    (re.compile(r"\b(\d+)(?:st|nd|rd|th)\b"), _rank),
    (re.compile(rf"(?<![\w.,])({_NUMBER})(\s?)({_any_of(list(UNITS))})(?![\w²³/°'’])"), _unit),
    (re.compile(rf"(?<![\w.])(?:{_any_of(list(ABBREVIATIONS))})(?!\w)"), _abbreviation),
    (re.compile(r"\b[ap]\.m\.", re.IGNORECASE), lambda m: _half(m[0], m)),
    (re.compile(r"\b[Nn]o\. ?(?=\d)|#(?=\d)"), lambda _: "number "),
    (re.compile(r"~(?=\d)"), lambda _: "about "),
    (re.compile(rf"(?<![\w/.])(?:{_any_of(list(FRACTIONS))})(?![\w/])"), lambda m: FRACTIONS[m[0]]),
    (re.compile(r"(?<=\d) ?([+*x^=<>]|(?<= )[-−/](?= )) ?(?=[-−(]?\d)"), lambda m: _spaced(OPERATORS[m[1]])),
    (re.compile(r"(?<=\d)x\b"), lambda _: " times"),
    (re.compile(r"(?<=[\w)]) ([+=]) (?=[\w(])"), lambda m: _spaced(OPERATORS[m[1]])),
    (re.compile(r"(?<![\w)])[-−](?=\d)"), lambda _: "minus "),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), lambda _: ""),
    (re.compile(_any_of(list(SYMBOLS))), lambda m: _spaced(SYMBOLS[m[0]])),
    (re.compile(r"(?<=[^\W\d_])/(?=[^\W\d_])"), lambda _: " "),
    # Initials: a voice pauses at a point.
    (re.compile(r"\b([A-Z])\.\s?(?=[A-Z]\.)"), lambda m: f"{m[1]} "),
    (re.compile(r"(?<=\b[A-Z] )(?!(?<=[AP] )M)([A-Z])\.(?=\s\w)"), lambda m: m[1]),
    (re.compile(r"\b([A-Z][a-z]+ [A-Z])\. (?=[A-Z])"), lambda m: f"{m[1]} "),
)
"""In this order: what several rules would take goes to the first."""
