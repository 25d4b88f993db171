"""Which STUN and TURN servers clients are told of, with credentials that are theirs and soon expire. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from server.transports.rtc.turn_credentials import IceServer, ice_servers, turn_credentials
from server.webrtc_settings import WebRtcSettings


class IceOffer:
    """The operator's ICE servers."""

    def __init__(self, settings: WebRtcSettings) -> None:
        self._settings = settings

    @property
    def lifetime_s(self) -> int:
        """How long credentials are good for."""
        return self._settings.turn_lifetime_s

    def servers(self, user: str, now_s: float) -> Sequence[IceServer]:
        """For one user, from ``now_s`` (Unix time) on."""
        settings = self._settings
        credentials = None
        if settings.turn_secret is not None:
            secret = settings.turn_secret.get_secret_value()
            credentials = turn_credentials(secret, user, now_s, settings.turn_lifetime_s)
        return ice_servers(settings.stun_urls, settings.turn_urls, credentials)

    def links(self, user: str, now_s: float) -> list[str]:
        """The same as ``Link`` headers (RFC 9725, section 4.6)."""
        return [_link(url, server) for server in self.servers(user, now_s) for url in server.urls]


def _link(url: str, server: IceServer) -> str:
    link = f'<{url}>; rel="ice-server"'
    if server.username is None:
        return link
    return f'{link}; username="{server.username}"; credential="{server.credential}"; credential-type="password"'
