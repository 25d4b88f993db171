"""Pieces of SIP's grammar that many headers share: lists, parameters, quoted strings (RFC 3261 section 25).

Pure functions over text; used by the modules beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from server.wire.sip.errors import SipSyntaxError

TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_SPACE: Final = " \t"
_MAX_PARTS: Final = 256

Parameters = tuple[tuple[str, str | None], ...]
"""Names in lower case, in order; a value without its quotes, or None where there is only a name."""


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """The parts of ``text`` between separators that stand neither in quotes nor in angle brackets, trimmed."""
    plain = '"' not in text and "<" not in text
    parts = text.split(separator) if plain else list(_split(text, separator))
    if len(parts) > _MAX_PARTS:
        raise SipSyntaxError("a list is too long")
    return [part.strip(_SPACE) for part in parts]


def _split(text: str, separator: str) -> Iterator[str]:
    start, quoted, depth, at = 0, False, 0, 0
    while at < len(text):
        sign = text[at]
        if quoted:
            at += sign == "\\"
            quoted = sign != '"'
        elif sign == '"':
            quoted = True
        elif sign == "<":
            depth += 1
        elif sign == ">":
            depth = max(0, depth - 1)
        elif sign == separator and not depth:
            yield text[start:at]
            start = at + 1
        at += 1
    yield text[start:]


def parse_parameters(text: str, separator: str = ";") -> Parameters:
    """``;a=1;b`` or ``a="x", b=2``. Empty parts are passed over. Raises SipSyntaxError."""
    found: list[tuple[str, str | None]] = []
    for part in split_outside_quotes(text, separator):
        if not part:
            continue
        name, equals, value = part.partition("=")
        name = name.strip(_SPACE).lower()
        if not name or any(sign in name for sign in ' \t"<>'):
            raise SipSyntaxError("a parameter has no name")
        found.append((name, unquoted(value.strip(_SPACE)) if equals else None))
    return tuple(found)


def format_parameters(parameters: Parameters) -> str:
    """Each with its semicolon in front; values that are no tokens in quotes."""
    return "".join(f";{name}" if value is None else f";{name}={_value(value)}" for name, value in parameters)


def parameter(parameters: Parameters, name: str) -> str | None:
    """The first value of a parameter; empty where it has none, None where it is not there."""
    for key, value in parameters:
        if key == name:
            return value or ""
    return None


def quoted(text: str) -> str:
    """A quoted string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unquoted(text: str) -> str:
    """A quoted string's text; anything else as it is."""
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def whole_number(text: str, largest: int) -> int:
    """Digits alone, at most ``largest``. Raises SipSyntaxError."""
    text = text.strip(_SPACE)
    if not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) > largest:
        raise SipSyntaxError("a number is malformed or out of range")
    return int(text)


def _value(value: str) -> str:
    # Hosts in brackets (maddr, received) stand without quotes.
    return value if re.fullmatch(r"[A-Za-z0-9\-.!%*_+`'~:\[\]/]+", value) else quoted(value)
