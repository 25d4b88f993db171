"""Price sheets: dated lists of prices, read from TOML and checked whole. Knows no usage.

A sheet is one file of one provider in one currency from one day on (docs/guides/metering.md shows one). It says whether
somebody has confirmed it against the provider's own list: an ``example`` is shown and never counted with.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Literal, cast

from metering.errors import PriceSheetError
from metering.quantities import METERS, TIME_METERS, Meter

SCHEMA: Final = 1
ANY_MODEL: Final = "*"
MAX_SHEET_BYTES: Final = 1 << 20

UNITS: Final[Mapping[str, int]] = {
    "second": 1_000,
    "minute": 60_000,
    "hour": 3_600_000,
    "thousand": 1_000,
    "million": 1_000_000,
}
"""How many milliseconds, or how many characters or tokens, a price is for."""
_TIME_UNITS: Final = frozenset({"second", "minute", "hour"})

Rounding = Literal["exact", "second"]
"""What a provider counts of one turn's audio or call time: its milliseconds, or each begun second."""
Status = Literal["confirmed", "example"]


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit of a meter costs with a model (``*``: with any that has no price of its own)."""

    model: str
    meter: Meter
    per: str
    price: Decimal
    rounding: Rounding


@dataclass(frozen=True, slots=True)
class PriceSheet:
    """One provider's prices from ``valid_from`` on, until the next sheet of it or before ``valid_until``."""

    name: str
    provider: str
    currency: str
    valid_from: date
    valid_until: date | None
    status: Status
    source: str
    prices: tuple[Price, ...]


def parse_sheet(text: str, name: str) -> PriceSheet:
    """The sheet a TOML text describes. Raises PriceSheetError, which names every fault."""
    try:
        plain = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError, InvalidOperation) as error:
        raise PriceSheetError(name, (f"it is not TOML: {error}",)) from error
    return sheet_of(plain, name)


def sheet_of(plain: Mapping[str, Any], name: str) -> PriceSheet:
    """The sheet of a parsed document. Raises PriceSheetError."""
    reader = _Reader(plain)
    if plain.get("schema") != SCHEMA:
        reader.fault(f"schema must be {SCHEMA}")
    sheet = PriceSheet(
        name=name,
        provider=reader.text("provider", r"[\w.:-]{1,64}"),
        currency=reader.text("currency", r"[A-Z]{3}"),
        valid_from=reader.day("valid_from") or date.min,
        valid_until=reader.day("valid_until", needed=False),
        status=cast("Status", reader.text("status", "confirmed|example")),
        source=reader.text("source", r".{1,300}"),
        prices=reader.prices(),
    )
    reader.only("schema", "provider", "currency", "valid_from", "valid_until", "status", "source", "price")
    if sheet.valid_until is not None and sheet.valid_until <= sheet.valid_from:
        reader.fault("valid_until must be later than valid_from")
    seen: set[tuple[str, str]] = set()
    for price in sheet.prices:
        if (price.model, price.meter) in seen:
            reader.fault(f"two prices for {price.meter} with model {price.model}")
        seen.add((price.model, price.meter))
    if reader.faults:
        raise PriceSheetError(name, tuple(reader.faults))
    return sheet


def sheet_document(sheet: PriceSheet) -> dict[str, Any]:
    """The sheet as plain values that ``sheet_of`` takes back: what a closed month keeps of it."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "provider": sheet.provider,
        "currency": sheet.currency,
        "valid_from": sheet.valid_from.isoformat(),
        "status": sheet.status,
        "source": sheet.source,
        "price": [
            {"model": p.model, "meter": p.meter, "per": p.per, "price": f"{p.price:f}", "rounding": p.rounding}
            for p in sheet.prices
        ],
    }
    if sheet.valid_until is not None:
        document["valid_until"] = sheet.valid_until.isoformat()
    return document


def read_sheets(paths: Iterable[Path]) -> tuple[PriceSheet, ...]:
    """The sheets in files, and in the ``.toml`` files of directories. Raises PriceSheetError."""
    return tuple(read_sheet(file) for path in paths for file in _files(path))


def read_sheet(path: Path) -> PriceSheet:
    """The sheet in one file. Raises PriceSheetError."""
    try:
        if path.stat().st_size > MAX_SHEET_BYTES:
            raise PriceSheetError(path.name, (f"it is larger than {MAX_SHEET_BYTES} bytes",))
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PriceSheetError(path.name, (f"it cannot be read: {error}",)) from error
    return parse_sheet(text, path.name)


def packaged_sheets() -> tuple[PriceSheet, ...]:
    """Those that come with the program: the embedded engines, and examples."""
    return read_sheets([Path(__file__).with_name("data")])


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.toml")) if path.is_dir() else [path]


class _Reader:
    """Takes a document apart and gathers what is wrong with it."""

    def __init__(self, plain: Mapping[str, Any], where: str = "") -> None:
        self._plain = plain
        self._where = where
        self.faults: list[str] = []

    def fault(self, words: str) -> None:
        self.faults.append(self._where + words)

    def only(self, *known: str) -> None:
        for name in self._plain.keys() - set(known):
            self.fault(f"there is nothing called {name}")

    def text(self, name: str, pattern: str, default: str | None = None) -> str:
        value = self._plain.get(name, default)
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        self.fault(f"{name} is missing" if value is None else f"{name} cannot be {value!r}")
        return ""

    def day(self, name: str, *, needed: bool = True) -> date | None:
        value = self._plain.get(name)
        if type(value) is date:
            return value
        if isinstance(value, str):
            try:
                return date.fromisoformat(value)
            except ValueError:
                pass
        if needed or value is not None:
            self.fault(f"{name} must be a date such as 2026-01-31")
        return None

    def prices(self) -> tuple[Price, ...]:
        entries: Any = self._plain.get("price")
        if not isinstance(entries, list) or not entries:
            self.fault("there must be at least one [[price]]")
            return ()
        found: list[Price] = []
        for number, entry in enumerate(cast("list[Any]", entries), start=1):
            reader = _Reader(cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}, f"price {number}: ")
            found.append(reader.price())
            self.faults += reader.faults
        return tuple(found)

    def price(self) -> Price:
        meter = cast("Meter", self.text("meter", "|".join(METERS)))
        per = self.text("per", "|".join(UNITS))
        rounding = cast("Rounding", self.text("rounding", "exact|second", "exact"))
        if meter and per and (meter in TIME_METERS) != (per in _TIME_UNITS):
            self.fault(f"{meter} is not priced per {per}")
        if rounding == "second" and meter not in TIME_METERS:
            self.fault("only audio and calls are rounded to seconds")
        self.only("model", "meter", "per", "price", "rounding")
        return Price(self.text("model", r".{1,256}", ANY_MODEL), meter, per, self._amount(), rounding)

    def _amount(self) -> Decimal:
        value = self._plain.get("price")
        if isinstance(value, str) and (not value.isascii() or "_" in value):  # which Python would read
            value = None
        try:
            amount = Decimal(value) if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else None
        except InvalidOperation:
            amount = None
        if amount is None or not amount.is_finite() or not 0 <= amount <= 1_000_000 or len(f"{amount:f}") > 30:
            self.fault('price must be an amount such as "0.15", from 0 to 1000000')
            return Decimal(0)
        return amount
