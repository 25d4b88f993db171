"""What a caller may do: roles, and the permissions each has. Pure.

A role is what somebody is in a tenant; a permission is what a route asks for. An API key may be narrowed to some of its
role's permissions. ``OPERATE`` is the one that reaches across tenants: it belongs to whoever runs the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

TenantType = Literal["consumer", "school", "business"]
Role = Literal["owner", "admin", "member", "service"]


class Permission(StrEnum):
    """What a route or a socket may ask of its caller."""

    TALK = "talk"
    """Hold conversations, in any way they come."""
    USAGE_OWN = "usage.own"
    """Read what one used oneself."""
    USAGE_READ = "usage.read"
    """Read what everybody in the tenant used, and export it."""
    BUDGETS_WRITE = "budgets.write"
    """Change budgets, and let a blocked lane go on for a while."""
    PROVIDER_KEYS = "provider_keys"
    """Store, list, rotate and delete the tenant's keys at providers."""
    IDENTITY_WRITE = "identity.write"
    """Make and take back API keys, and say who is what."""
    PRIVACY_OWN = "privacy.own"
    """Export and delete one's own data."""
    PRIVACY_WRITE = "privacy.write"
    """Export and delete anybody's in the tenant, choose retention, place and lift legal holds."""
    CALLS = "calls"
    """Place and end telephone calls."""
    AUDIT_READ = "audit.read"
    """Read what was done by whom."""
    OPERATE = "operate"
    """Do any of it in any tenant."""


_MEMBER: Final = frozenset({Permission.TALK, Permission.USAGE_OWN, Permission.PRIVACY_OWN})
_SERVICE: Final = _MEMBER | {Permission.CALLS}
_ADMIN: Final = frozenset(Permission) - {Permission.OPERATE}

PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    "member": _MEMBER,
    "service": _SERVICE,
    "admin": _ADMIN,
    "owner": _ADMIN,
}
OPERATOR: Final = frozenset(Permission)
"""What the server's own keys may do, and the person at its machine."""
