"""Which price holds on which day, closed months included. Pure.

A closed month's prices are its statement's, every other day's the book's. Days between which no price changes can be
summed before they are priced, which is what makes a report over many people quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from fractions import Fraction
from itertools import pairwise

from metering.ledger import DayQuery, PeriodClosing, SumsReader
from metering.pricing.book import Offer, PriceBook, date_day, day_date
from metering.pricing.closing import Statement, month_days
from metering.pricing.cost import charge, micros


class Rates:
    """The prices of some days: from ``first_day`` on, before ``day_before``."""

    def __init__(self, book: PriceBook, closings: Iterable[PeriodClosing], first_day: int, day_before: int) -> None:
        self._book = book
        self._days = (first_day, day_before)
        self._closed: list[tuple[int, int, PriceBook]] = []
        for closing in closings:
            month = month_days(closing.period)
            first, before = month.first_day or 0, month.day_before or 0
            if first < day_before and before > first_day:
                self._closed.append((first, before, PriceBook(Statement.of(closing).sheets)))
        self._known: dict[tuple[str, str, str, int], Offer | None] = {}

    def offer(self, provider: str, model: str, meter: str, day: int) -> Offer | None:
        """The price on that day; None where no sheet has one."""
        key = (provider, model, meter, day)
        if key not in self._known:
            self._known[key] = self._of(day).offer(*key)
        return self._known[key]

    def spans(self) -> list[tuple[int, int]]:
        """The days in pieces, in each of which every price is the same from its first day to its end."""
        first, before = self._days
        cuts = {first, before}
        books = [self._book, *(book for _, _, book in self._closed)]
        cuts |= {day for start, end, _ in self._closed for day in (start, end)}
        for sheet in (sheet for book in books for sheet in book.sheets):
            cuts.add(date_day(sheet.valid_from))
            if sheet.valid_until is not None:
                cuts.add(date_day(sheet.valid_until))
        ordered = sorted(day for day in cuts if first <= day <= before)
        return list(pairwise(ordered))

    def _of(self, day: int) -> PriceBook:
        return next((book for first, before, book in self._closed if first <= day < before), self._book)


class CostSum:
    """What some work cost, exactly, by currency; and what of it has no price.

    What is used at one price is added up before it is priced: fractions are slow.
    """

    def __init__(self) -> None:
        self._used: dict[tuple[int, int], tuple[Offer, int, int]] = {}  # by the identity of sheet and price
        self._unpriced: dict[tuple[str, str, str], int] = {}

    def add(self, rates: Rates, day: int, what: tuple[str, str, str], sums: tuple[int, int]) -> None:
        """Count an amount (and its whole seconds) of a provider's model's meter, used on that day."""
        offer = rates.offer(*what, day)
        if offer is None:
            self._unpriced[what] = self._unpriced.get(what, 0) + sums[0]
            return
        self._use(offer, *sums)

    def count(self, other: CostSum, times: int = 1) -> None:
        """Count in what another has; -1 takes it out."""
        for offer, amount, whole_seconds in other._used.values():
            self._use(offer, times * amount, times * whole_seconds)
        for what, amount in other._unpriced.items():
            self._unpriced[what] = self._unpriced.get(what, 0) + times * amount

    @property
    def unpriced(self) -> tuple[tuple[str, str, str], ...]:
        """Provider, model and meter of what has no price, in order."""
        return tuple(sorted(what for what, amount in self._unpriced.items() if amount))

    def micros(self) -> Mapping[str, int]:
        """Millionths by currency, rounded once, here."""
        exact: dict[str, Fraction] = {}
        for offer, amount, whole_seconds in self._used.values():
            if not amount:  # all of it was taken out again
                continue
            currency = offer.sheet.currency
            exact[currency] = exact.get(currency, Fraction(0)) + charge(offer.price, amount, whole_seconds)
        return {currency: micros(exact[currency]) for currency in sorted(exact)}

    def _use(self, offer: Offer, amount: int, whole_seconds: int) -> None:
        key = id(offer.sheet), id(offer.price)  # the offer keeps both alive
        _, before, seconds_before = self._used.get(key, (offer, 0, 0))
        self._used[key] = offer, before + amount, seconds_before + whole_seconds


def cost_of(sums: SumsReader, days: DayQuery, book: PriceBook) -> CostSum:
    """What these days cost. Blocks while it reads. Raises LedgerError."""
    before = date_day(date.max) if days.day_before is None else days.day_before
    rates, cost = Rates(book, sums.closings(), days.first_day or 0, before), CostSum()
    for used in sums.amounts(days):
        cost.add(rates, used.day, (used.provider, used.model, used.meter), (used.amount, used.whole_seconds))
    return cost


def day_name(day: int) -> str:
    """A day counted from 1970-01-01, as people write it: ``2026-11-27``."""
    return day_date(day).isoformat()
