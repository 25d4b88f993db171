"""The settings' section about the usage ledger; see ``server.settings``."""

from __future__ import annotations

from typing import Self

from pydantic import SecretStr, model_validator

from server.setting_types import Directory, Section


class LedgerSettings(Section):
    """Where usage is kept, and what it costs.

    ``url`` is a PostgreSQL URL (with its password, so it is a secret); without one the ledger is a SQLite file in the
    data directory. ``price_sheets`` is a directory of price sheets.
    """

    url: SecretStr | None = None
    price_sheets: Directory | None = None

    @model_validator(mode="after")
    def _is_a_database(self) -> Self:
        if self.url is not None and not self.url.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("ledger.url must start with postgresql:// (without it the ledger is a SQLite file)")
        if self.price_sheets is not None and not self.price_sheets.is_dir():
            raise ValueError(f"ledger.price_sheets: there is no directory {self.price_sheets}")
        return self
