"""Which ledger and which price book the settings mean. Driven by the host and the commands; knows no events."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from metering.ledger import Ledger
from metering.pricing.book import PriceBook
from metering.pricing.sheets import PriceSheet, packaged_sheets, read_sheets
from metering.sqlite_ledger import SqliteLedger
from server.settings import Settings, SettingsError


def open_ledger(settings: Settings) -> Ledger:
    """The ledger the settings name; it connects when it is first used. Raises SettingsError.

    The caller closes it.
    """
    if settings.ledger.url is None:
        return SqliteLedger(settings.ledger_path)
    try:
        module: Any = import_module("metering.postgres.ledger")
    except ImportError as error:
        raise SettingsError(
            ("ledger.url needs PostgreSQL's client, which is not installed: uv sync --inexact --extra postgres.",)
        ) from error
    return cast("Ledger", module.PostgresLedger(settings.ledger.url.get_secret_value()))


def price_sheets(settings: Settings) -> tuple[PriceSheet, ...]:
    """The sheets that come with the program and the operator's own. Raises PriceSheetError."""
    own = settings.ledger.price_sheets
    return (*packaged_sheets(), *(() if own is None else read_sheets([own])))


def price_book(settings: Settings) -> PriceBook:
    """The prices that count. Raises PriceSheetError."""
    return PriceBook(price_sheets(settings))
