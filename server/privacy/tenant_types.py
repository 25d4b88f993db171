"""What tenants are (a school, a business, ...): as the settings say, else as the database does.

Owned by the privacy office, which reads anew what other processes may have changed. What a tenant is decides how long
its people's data is kept, so nobody's own memory of it comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import sqlalchemy as sa

from metering.records import Records
from server.identity.tables import tenants
from server.permissions import TenantType


class TenantTypes:
    """See the module."""

    def __init__(self, records: Records, settings_type: Callable[[str], TenantType | None]) -> None:
        """``settings_type`` is what the settings say a tenant is."""
        self._records = records
        self._settings_type = settings_type
        self._kept: dict[str, TenantType] = {}

    async def refresh(self) -> None:
        """Read the database's tenants. Raises RecordsError."""
        question = sa.select(tenants.c.tenant_id, tenants.c.type)
        rows = await self._records.run_read(lambda connection: connection.execute(question).all())
        self._kept = {str(row[0]): cast("TenantType", row[1]) for row in rows}

    def of(self, tenant_id: str) -> TenantType | None:
        """What a tenant is; None where neither knows it."""
        return self._settings_type(tenant_id) or self._kept.get(tenant_id)
