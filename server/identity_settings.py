"""The settings' section about logging in: who must, for how long it holds, and which proxies are believed.

See ``server.settings``; driven by ``server.identity`` and ``server.serving``.
"""

from __future__ import annotations

from pydantic import Field

from server.setting_types import Section, Words


class IdentitySettings(Section):
    """``require_keys`` asks for a key (or a login) on this machine, too, as a server behind a proxy must."""

    require_keys: bool = False
    session_minutes: int = Field(default=60, ge=5, le=720)
    trusted_proxies: Words = ("127.0.0.1", "::1")
