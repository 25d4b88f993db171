"""Cost: the ledger's amounts at the price book's prices. Pure, exact, and as often as anybody likes.

Amounts and prices are multiplied as fractions and added up; a sum becomes whole micro-units of its currency once, half
up, when a line is written. Currencies are never added to each other. What has no price is listed as unpriced: it is not
free. A closed month's cost is what its statement says, whatever sheets came later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from metering.ledger import DailyAmount
from metering.pricing.book import Offer, PriceBook
from metering.pricing.sheets import UNITS, Price
from metering.quantities import quantities
from metering.rollup import DAY_MS, Rollup
from metering.usage import UsageEvent


@dataclass(frozen=True, slots=True)
class CostLine:
    """What a tenant used of one meter, and what it cost: ``micros`` are millionths of the currency's unit.

    ``currency`` and ``micros`` are None where no sheet has a price for it.
    """

    tenant_id: str
    mode: str
    provider: str
    model: str
    meter: str
    amount: int
    currency: str | None
    micros: int | None


def cost_lines(amounts: Iterable[DailyAmount], book: PriceBook) -> tuple[CostLine, ...]:
    """The cost of daily amounts, added up over days and agents; in the order of the lines' names."""
    counted: dict[tuple[str, str, str, str, str, str], int] = {}
    exact: dict[tuple[str, str, str, str, str, str], Fraction] = {}
    for row in amounts:
        offer = book.offer(row.provider, row.model, row.meter, row.day)
        currency = "" if offer is None else offer.sheet.currency
        key = (row.tenant_id, row.mode, row.provider, row.model, row.meter, currency)
        counted[key] = counted.get(key, 0) + row.amount
        if offer is not None:
            exact[key] = exact.get(key, Fraction(0)) + charge(offer.price, row.amount, row.whole_seconds)
    return tuple(
        CostLine(*key[:5], counted[key], key[5] or None, micros(exact[key]) if key in exact else None)
        for key in sorted(counted)
    )


def charge(price: Price, amount: int, whole_seconds: int) -> Fraction:
    """What an amount costs, exactly, in the currency's unit."""
    billed = whole_seconds * 1_000 if price.rounding == "second" else amount
    return Fraction(price.price) * billed / UNITS[price.per]


def event_cost(event: UsageEvent, book: PriceBook) -> dict[str, Fraction]:
    """What one event costs, exactly, by currency; unpriced work is left out."""
    costs: dict[str, Fraction] = {}
    for used in quantities(event):
        offer: Offer | None = book.offer(used.provider, used.model, used.meter, event.started_at // DAY_MS)
        if offer is not None:
            currency = offer.sheet.currency
            cost = charge(offer.price, used.amount, used.whole_seconds)
            costs[currency] = costs.get(currency, Fraction(0)) + cost
    return costs


def events_cost(events: Iterable[UsageEvent], book: PriceBook) -> tuple[CostLine, ...]:
    """The cost of current events, as ``cost_lines`` tells it."""
    return cost_lines(Rollup.of(events).quantities(), book)


def micros(exact: Fraction) -> int:
    """Whole millionths, half up."""
    return (exact.numerator * 2_000_000 + exact.denominator) // (2 * exact.denominator)


def totals_by_currency(lines: Iterable[CostLine]) -> dict[str, int]:
    """Micro-units by currency."""
    totals: dict[str, int] = {}
    for line in lines:
        if line.currency is not None and line.micros is not None:
            totals[line.currency] = totals.get(line.currency, 0) + line.micros
    return dict(sorted(totals.items()))


def unpriced(lines: Iterable[CostLine]) -> tuple[tuple[str, str, str], ...]:
    """Provider, model and meter of what no sheet has a price for."""
    return tuple(sorted({(line.provider, line.model, line.meter) for line in lines if line.micros is None}))


def money(amount_micros: int) -> Decimal:
    """Micro-units as an amount with exactly six decimals."""
    return Decimal(f"{amount_micros}E-6")
