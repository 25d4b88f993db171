"""The settings' section about webhooks: to whom usage events go out. See ``server.settings``.

Only an operator sets these addresses, never a tenant: that is what keeps them from leading somewhere they should not.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from server.setting_types import Secrets, Section

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a name
MIN_SECRET_BYTES: Final = 24
MAX_SECRET_BYTES: Final = 64


class WebhookEndpoint(Section):
    """One receiver. With two ``secrets`` every request carries a signature by each: that is how they are rotated.

    ``tenant`` narrows it to one tenant's events, ``batch`` is how many go into one request (1: none are batched),
    ``start`` where a new endpoint begins, ``token`` is sent as a bearer token.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    url: str = Field(max_length=2_000)
    secrets: Secrets = Field(min_length=1, max_length=2)
    tenant: str | None = None
    batch: int = Field(default=1, ge=1, le=500)
    start: Literal["now", "beginning"] = "now"
    token: SecretStr | None = None
    allow_http: bool = False

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        address = urlsplit(self.url)
        if address.scheme not in ("https", "http") or not address.hostname or address.username or address.fragment:
            raise ValueError("a webhook's url must be like https://billing.example.org/usage, without user and #")
        if address.scheme == "http" and not (self.allow_http or _loopback(address.hostname)):
            raise ValueError("a webhook's url must be https (or set allow_http, in a network of your own)")
        for secret in self.secrets:
            secret_key(secret.get_secret_value())
        return self


class WebhookSettings(Section):
    """Where usage events are sent, and how long that is tried.

    An event that a receiver rejects ``max_attempts`` times becomes a dead letter; a receiver that fails for
    ``give_up_h`` hours is disabled.
    """

    endpoints: tuple[WebhookEndpoint, ...] = ()
    source: str = Field(default="convergio-voice", min_length=1, max_length=200)
    timeout_s: float = Field(default=15.0, ge=0.1, le=60)
    first_pause_s: float = Field(default=1.0, ge=0.01, le=60)
    longest_pause_s: float = Field(default=3_600.0, ge=0.01, le=24 * 3_600)
    max_attempts: int = Field(default=8, ge=1, le=100)
    give_up_h: float = Field(default=120.0, ge=0, le=24 * 365)
    poll_s: float = Field(default=1.0, ge=0.01, le=60)

    @model_validator(mode="after")
    def _endpoints_are_told_apart(self) -> Self:
        ids = [endpoint.id for endpoint in self.endpoints]
        if len(set(ids)) < len(ids):
            raise ValueError("every webhook needs an id of its own")
        return self


def secret_key(secret: str) -> bytes:
    """The key in a secret as the Standard Webhooks write it: ``whsec_`` and base64. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(
            f"a webhook's secret is {SECRET_PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes in "
            "base64 (openssl rand -base64 32)"
        )
    return key


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
