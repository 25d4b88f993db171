"""The bodies of the WebRTC routes that are JSON."""

from __future__ import annotations

from server.contracts.base import Contract, Count, ServerId


class IceServerEntry(Contract):
    """One entry of a browser's `iceServers`."""

    urls: tuple[str, ...]
    username: str | None = None
    """For TURN servers only; it expires."""
    credential: str | None = None


class IceServerList(Contract):
    """Which STUN and TURN servers to use."""

    request_id: ServerId
    ice_servers: tuple[IceServerEntry, ...]
    ttl_s: Count
    """How long the credentials are good for."""
