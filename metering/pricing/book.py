"""The price book: which price holds for a provider's model, meter and day. Pure.

Of the confirmed sheets of a provider, the newest that is valid on the day counts; within it, the model's own price
before the one for any model. Examples are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from metering.errors import PriceSheetError
from metering.pricing.sheets import ANY_MODEL, Price, PriceSheet

_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Offer:
    """A price and the sheet it stands in."""

    sheet: PriceSheet
    price: Price


class PriceBook:
    """Some sheets, and the answers they give. Raises PriceSheetError where two contradict each other."""

    def __init__(self, sheets: Iterable[PriceSheet]) -> None:
        self.sheets = tuple(sheet for sheet in sheets if sheet.status == "confirmed")
        self._by_provider: dict[str, list[PriceSheet]] = {}
        for sheet in sorted(self.sheets, key=lambda sheet: sheet.valid_from, reverse=True):
            older = self._by_provider.setdefault(sheet.provider, [])
            if older and older[-1].valid_from == sheet.valid_from:
                raise PriceSheetError(
                    sheet.name, (f"{older[-1].name} prices {sheet.provider} from {sheet.valid_from} too",)
                )
            older.append(sheet)

    def offer(self, provider: str, model: str, meter: str, day: int) -> Offer | None:
        """The price on that UTC day (counted from 1970-01-01); None where no sheet has one."""
        sheet = self._sheet(provider, day_date(day))
        if sheet is None:
            return None
        for name in (model, ANY_MODEL):
            for price in sheet.prices:
                if price.model == name and price.meter == meter:
                    return Offer(sheet, price)
        return None

    def _sheet(self, provider: str, on: date) -> PriceSheet | None:
        for sheet in self._by_provider.get(provider, ()):
            if sheet.valid_from <= on and (sheet.valid_until is None or on < sheet.valid_until):
                return sheet
        return None


def day_date(day: int) -> date:
    """The date of a day counted from 1970-01-01."""
    return _EPOCH + timedelta(days=day)


def date_day(on: date) -> int:
    """The day counted from 1970-01-01."""
    return (on - _EPOCH).days
