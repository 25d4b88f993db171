"""What a role and a key may do, and that nobody hands out more than they have. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity
from server.identity.keys import Environment
from server.permissions import OPERATOR, PERMISSIONS, Permission, Role
from server.tenant_settings import DEFAULT_TENANT

TEST: Final = frozenset({Permission.TALK, Permission.USAGE_OWN, Permission.USAGE_READ, Permission.PRIVACY_OWN})
"""The most a test key may do: nothing that costs money or changes what others have."""


def role_permissions(tenant_id: str, role: Role) -> frozenset[Permission]:
    """What a role may do in a tenant; the owners of the server's own tenant operate the server."""
    return OPERATOR if (tenant_id, role) == (DEFAULT_TENANT, "owner") else PERMISSIONS[role]


def key_permissions(
    tenant_id: str, role: Role, narrowed: Iterable[str] | None, environment: Environment
) -> frozenset[Permission]:
    """What a key may do: its role's permissions, or those of them it is narrowed to; a test key's are fewer."""
    allowed = role_permissions(tenant_id, role)
    if environment == "test":
        allowed &= TEST
    return allowed if narrowed is None else allowed & frozenset(narrowed)


def require_no_more(actor: Identity, permissions: frozenset[Permission], agent_id: str | None = None) -> None:
    """Raise Refused where somebody would hand out what they do not have themselves."""
    more = sorted(permissions - actor.permissions)
    if more:
        raise Refused(ErrorCode.AUTH_FORBIDDEN, f"You cannot hand out what you do not have: {more[0]}.")
    if actor.agent_id is not None and agent_id != actor.agent_id:
        raise Refused(ErrorCode.AUTH_FORBIDDEN, "Your own key is for one agent only; so must this one be.")
