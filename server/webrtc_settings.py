"""The settings' section about WebRTC; see ``server.settings``."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from server.setting_types import Section, Words


class WebRtcSettings(Section):
    """Where WebRTC media comes and goes, and which STUN and TURN servers clients are told of.

    ``udp_ports`` is a range such as ``50000-50100`` (default: any). ``advertised_addresses`` are told to clients in
    place of this machine's own where it is behind an address translator. ``stun_server`` (``host:port``) and
    ``relay_url`` (``turn:user:password@host:port``) are for the server's own side.
    """

    enabled: bool = True
    ipv4: bool = True
    ipv6: bool = True
    bind_addresses: Words = ()
    advertised_addresses: Words = ()
    udp_ports: str | None = Field(default=None, pattern=r"^\d{1,5}-\d{1,5}$")
    stun_server: str | None = None
    relay_url: SecretStr | None = None
    stun_urls: Words = ()
    turn_urls: Words = ()
    turn_secret: SecretStr | None = None
    turn_lifetime_s: int = Field(default=600, ge=60, le=86_400)
    connect_timeout_s: float = Field(default=15.0, ge=1, le=120)
    lost_after_s: float = Field(default=30.0, ge=2, le=300)

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if self.turn_urls and self.turn_secret is None:
            raise ValueError("webrtc.turn_urls needs webrtc.turn_secret, the secret shared with the TURN server")
        for url in self.stun_urls:
            if not url.startswith(("stun:", "stuns:")):
                raise ValueError(f"webrtc.stun_urls: {url!r} does not begin with stun: or stuns:")
        for url in self.turn_urls:
            if not url.startswith(("turn:", "turns:")):
                raise ValueError(f"webrtc.turn_urls: {url!r} does not begin with turn: or turns:")
        return self
