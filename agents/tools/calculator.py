"""Arithmetic in exact decimals: a small precedence-climbing parser, so that nothing is ever executed.

Pure. Takes what people and models write: ``+ - * / // % ^ **``, brackets, ``15% of 80``, thousands commas, ``sqrt``,
``×`` and ``÷``. Bounded in length, depth and size. Driven by ``agents.tools.builtin``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException, DivisionByZero, InvalidOperation, Overflow
from typing import Final

from agents.errors import ToolError

MAX_CHARS: Final = 200
MAX_DEPTH: Final = 30
MAX_EXPONENT: Final = 1_000
SHOWN_DIGITS: Final = 12

_CONTEXT: Final = Context(
    prec=40, rounding=ROUND_HALF_EVEN, Emax=3_000, Emin=-3_000, traps=[DivisionByZero, InvalidOperation, Overflow]
)
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)|(?P<name>[a-z]+|π)|(?P<sign>\*\*|//|[-+*/%^()√]))",
    re.IGNORECASE,
)
_SPELLINGS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "[": "(", "]": ")"})
_PI: Final = Decimal("3.141592653589793238462643383279502884197")
_E: Final = Decimal("2.718281828459045235360287471352662497757")

_BINARY: Final[Mapping[str, tuple[int, Callable[[Decimal, Decimal], Decimal]]]] = {
    "+": (1, _CONTEXT.add),
    "-": (1, _CONTEXT.subtract),
    "*": (2, _CONTEXT.multiply),
    "of": (2, _CONTEXT.multiply),
    "/": (2, _CONTEXT.divide),
    "//": (2, _CONTEXT.divide_int),
    "mod": (2, _CONTEXT.remainder),
}
_FUNCTIONS: Final[Mapping[str, Callable[[Decimal], Decimal]]] = {
    "sqrt": _CONTEXT.sqrt,
    "√": _CONTEXT.sqrt,
    "abs": _CONTEXT.abs,
    "round": lambda a: a.to_integral_value(ROUND_HALF_EVEN),
    "ln": _CONTEXT.ln,
    "log": _CONTEXT.log10,
}


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, as plain decimal digits (at most twelve significant ones).

    Raises:
        ToolError: one sentence that says what is wrong with it.
    """
    if len(expression) > MAX_CHARS:
        raise ToolError("The expression is too long.")
    try:
        value = _Parser(expression).value()
    except (DivisionByZero, ZeroDivisionError) as error:
        raise ToolError("Division by zero has no value.") from error
    except InvalidOperation as error:
        raise ToolError("The expression has no real value.") from error
    except DecimalException as error:
        raise ToolError("The value is too large.") from error
    if not value.is_finite():
        raise ToolError("Division by zero has no value.")
    return _shown(value)


def _shown(value: Decimal) -> str:
    rounded = value.normalize(Context(prec=SHOWN_DIGITS))
    if rounded == 0:
        return "0"
    return f"{rounded:f}" if -7 <= rounded.adjusted() <= 15 else f"{rounded:e}"


class _Parser:
    """Precedence climbing over one expression's tokens."""

    def __init__(self, expression: str) -> None:
        self._tokens = _tokens(expression)
        self._next = 0
        self._depth = 0

    def value(self) -> Decimal:
        if not self._tokens:
            raise ToolError("The expression is empty.")
        value = self._sum(1)
        if self._peek():
            raise ToolError(f"The expression cannot be read at {self._peek()!r}.")
        return value

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _sum(self, binding: int) -> Decimal:
        left = self._power()
        while (operator := _BINARY.get(self._operator())) and operator[0] >= binding:
            self._take()
            left = operator[1](left, self._sum(operator[0] + 1))
        return left

    def _operator(self) -> str:
        """The operator that comes next. ``%`` before a number is a remainder, else it belongs to what precedes."""
        symbol = self._peek()
        return "mod" if symbol == "%" else symbol

    def _power(self) -> Decimal:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError("The expression is nested too deeply.")
        base = self._percent(self._operand())
        if self._peek() in {"^", "**"}:
            self._take()
            exponent = self._power()
            if abs(exponent) > MAX_EXPONENT:
                raise ToolError("The exponent is too large.")
            base = _CONTEXT.power(base, exponent)
        self._depth -= 1
        return base

    def _percent(self, value: Decimal) -> Decimal:
        after = self._tokens[self._next + 1] if self._next + 1 < len(self._tokens) else ""
        if self._peek() == "%" and not (after[:1].isdigit() or after == "("):
            self._take()
            return _CONTEXT.divide(value, Decimal(100))
        return value

    def _operand(self) -> Decimal:
        symbol = self._take()
        if symbol in {"-", "+"}:
            value = self._power()
            return _CONTEXT.minus(value) if symbol == "-" else value
        if symbol == "(":
            value = self._sum(1)
            if self._take() != ")":
                raise ToolError("A bracket is not closed.")
            return value
        if symbol in _FUNCTIONS:
            return _FUNCTIONS[symbol](self._operand())
        if symbol in {"pi", "π"}:
            return _PI
        if symbol == "e":
            return _E
        if symbol[:1].isdigit() or symbol[:1] == ".":
            return Decimal(symbol.replace(",", ""))
        raise ToolError("The expression ends too early." if not symbol else f"{symbol!r} is not a number.")


def _tokens(expression: str) -> list[str]:
    text = expression.translate(_SPELLINGS).strip().removesuffix("=").rstrip()
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ToolError(f"The expression cannot be read at {text[position : position + 10].strip()!r}.")
        tokens.append((match["number"] or match["name"] or match["sign"]).lower())
        position = match.end()
    return tokens
