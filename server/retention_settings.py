"""The settings' section about stored conversations and people's data; see ``server.settings``.

How long a tenant's data is kept is the tenant's choice, within what its type allows (``server.privacy.protection``).
"""

from __future__ import annotations

from pydantic import Field

from server.setting_types import Section


class RetentionSettings(Section):
    """What is done here. ``store``: conversations are kept where a tenant does not say otherwise.

    ``purge_interval_s``: how often what is due goes; ``queue_limit``: entries that may wait while the database is away;
    ``recording``: audio may be recorded at all, with consent; ``export_hours``: how long an export can be fetched.
    """

    store: bool = True
    purge_interval_s: float = Field(default=3_600.0, ge=1, le=7 * 24 * 3_600)
    queue_limit: int = Field(default=10_000, ge=100, le=1_000_000)
    recording: bool = False
    export_hours: float = Field(default=24.0, gt=0, le=7 * 24)
