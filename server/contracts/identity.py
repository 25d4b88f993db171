"""Logging in, who one is, API keys, users, tenants, and the audit log, as they travel over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from server.contracts.base import AgentId, ClientId, Contract, Count, Milliseconds, ServerId
from server.permissions import Permission, Role, TenantType

TenantId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""A tenant: small letters, digits, ``_`` and ``-``."""
Name = Annotated[str, Field(min_length=1, max_length=200)]
"""For people to read."""
LoginName = Annotated[str, Field(min_length=3, max_length=200)]
"""What one logs in by, such as an e-mail address; case does not matter."""
Password = Annotated[str, Field(min_length=10, max_length=256)]


class LoginRequest(Contract):
    """Either a login name with its password, or an API key."""

    login_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    password: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    api_key: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    cookie: bool = False
    """Give the session to the server's own page as a cookie (HttpOnly, SameSite=Strict), not to its scripts."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_name = self.login_name is not None and self.password is not None
        if by_name == (self.api_key is not None) or (self.login_name is None) != (self.password is None):
            raise ValueError("give login_name and password, or api_key")
        return self


class Me(Contract):
    """Who the caller is, and what they may do."""

    request_id: ServerId
    tenant_id: str
    tenant_type: TenantType
    user_id: str
    role: Role
    permissions: tuple[Permission, ...]
    agent_id: str | None = None
    """The only agent they may talk to."""
    test: bool = False
    """They came with a test key."""


class LoginResponse(Contract):
    """A session. It is not prolonged: log in again."""

    request_id: ServerId
    token: str | None = None
    """Send it as `Authorization: Bearer`. Absent where it is in the cookie."""
    expires_at_ms: Milliseconds
    tenant_id: str
    user_id: str
    role: Role


class SessionRequest(Contract):
    """A client secret for one connection of a browser."""

    agent_id: AgentId | None = None
    """The only agent it may talk to."""
    user_id: ClientId | None = None
    """To whom usage is attributed; the caller, unless they are a service, an admin or an owner and say otherwise."""
    expires_in_s: Annotated[int, Field(ge=10, le=60)] = 60


class SessionResponse(Contract):
    """What a browser connects with, once: as the subprotocol `convergio.key.<client_secret>`, or as a bearer token."""

    request_id: ServerId
    client_secret: str
    expires_at_ms: Milliseconds
    voice_path: str
    chat_path: str
    webrtc_path: str


class ApiKeyRequest(Contract):
    """A key to be made."""

    name: Name
    tenant_id: TenantId | None = None
    """The caller's own, unless they operate the server."""
    role: Role = "service"
    """Of a key for a program; one for a user has that user's."""
    user_id: ClientId | None = None
    permissions: tuple[Permission, ...] | None = None
    """Those of the role that it is narrowed to; absent: all."""
    agent_id: AgentId | None = None
    environment: Literal["live", "test"] = "live"
    expires_at_ms: Milliseconds | None = None

    @field_validator("permissions")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if value is not None and not value:
            raise ValueError("a key without a permission would open nothing")
        return value


class ApiKeyItem(Contract):
    """One key, without what it is."""

    key_id: str
    tenant_id: str
    user_id: str | None = None
    role: Role
    permissions: tuple[Permission, ...] | None = None
    agent_id: str | None = None
    name: str
    environment: Literal["live", "test"]
    hint: str
    """Its kind and last letters."""
    created_at_ms: Milliseconds
    expires_at_ms: Milliseconds | None = None
    revoked_at_ms: Milliseconds | None = None
    last_used_at_ms: Milliseconds | None = None
    """To the half minute."""


class ApiKeyList(Contract):
    """Keys of the database, by id; those of the settings are not listed."""

    request_id: ServerId
    keys: tuple[ApiKeyItem, ...]
    next_cursor: str | None = None


class ApiKeyResponse(Contract):
    """A key, as it is now."""

    request_id: ServerId
    key: ApiKeyItem


class ApiKeyCreated(Contract):
    """A new key: the only time it is told."""

    request_id: ServerId
    api_key: str
    key: ApiKeyItem


class UserRequest(Contract):
    """A user to be made; who is to log in by name has a login name and a password."""

    name: Name
    tenant_id: TenantId | None = None
    role: Role = "member"
    login_name: LoginName | None = None
    password: Password | None = None


class UserChangeRequest(Contract):
    """What is to be different about a user. A new password, and disabling, end their sessions."""

    name: Name | None = None
    role: Role | None = None
    password: Password | None = None
    disabled: bool | None = None


class UserItem(Contract):
    """One user."""

    user_id: str
    tenant_id: str
    role: Role
    name: str
    login_name: str | None = None
    has_password: bool
    created_at_ms: Milliseconds
    disabled_at_ms: Milliseconds | None = None


class UserList(Contract):
    """Users, by id."""

    request_id: ServerId
    users: tuple[UserItem, ...]
    next_cursor: str | None = None


class UserResponse(Contract):
    """A user, as they are now."""

    request_id: ServerId
    user: UserItem


class TenantRequest(Contract):
    """A tenant to be made."""

    name: Name
    type: TenantType
    tenant_id: TenantId | None = None
    """Made up where it is absent."""


class TenantChangeRequest(Contract):
    """What is to be different about a tenant. Disabling one ends whatever its keys and users do."""

    name: Name | None = None
    disabled: bool | None = None


class TenantItem(Contract):
    """One tenant."""

    tenant_id: str
    type: TenantType
    name: str
    source: Literal["settings", "database"]
    """Those of the settings are changed there."""
    created_at_ms: Milliseconds
    disabled_at_ms: Milliseconds | None = None


class TenantList(Contract):
    """All of them."""

    request_id: ServerId
    tenants: tuple[TenantItem, ...]


class TenantResponse(Contract):
    """A tenant, as it is now."""

    request_id: ServerId
    tenant: TenantItem


class AuditItem(Contract):
    """What was done: by whom, when, to what."""

    sequence: Count
    at_ms: Milliseconds
    tenant_id: str
    actor_tenant_id: str
    actor_id: str
    action: str
    target: str
    details: dict[str, Any]
    request_id: str
    hash: str
    """SHA-256 over this row and the hash of the one before (of whatever tenant)."""


class AuditPage(Contract):
    """Rows, oldest first unless asked otherwise."""

    request_id: ServerId
    entries: tuple[AuditItem, ...]
    next_cursor: str | None = None
    """Send it as `cursor` for what comes behind; absent at the end."""


class AuditVerification(Contract):
    """Whether the log is as it was written."""

    request_id: ServerId
    intact: bool
    first_bad_sequence: Count | None = None
