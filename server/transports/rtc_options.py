"""The operator's WebRTC settings as a peer's options. Pure."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from server.settings import Settings
from server.transports.rtc.port import IceOptions, PeerOptions, TurnServer

STUN_PORT = 3_478
MAX_MESSAGE_BYTES = 256 * 1024
"""Of one message on a data channel: sessions bring long instructions and many tools."""


def peer_options(settings: Settings) -> PeerOptions:
    """The options every peer of this server has. Raises ValueError for addresses that are none."""
    webrtc = settings.webrtc
    low, high = (int(port) for port in webrtc.udp_ports.split("-")) if webrtc.udp_ports else (0, 0)
    ice = IceOptions(
        use_ipv4=webrtc.ipv4,
        use_ipv6=webrtc.ipv6,
        include_loopback=settings.loopback,
        bind_addresses=webrtc.bind_addresses,
        advertised_addresses=webrtc.advertised_addresses,
        port_min=low,
        port_max=high,
        stun_server=None if webrtc.stun_server is None else _host_port(webrtc.stun_server),
        turn_server=None if webrtc.relay_url is None else _relay(webrtc.relay_url.get_secret_value()),
    )
    return PeerOptions(
        ice=ice,
        connect_limit_s=webrtc.connect_timeout_s,
        lost_after_s=webrtc.lost_after_s,
        max_message_bytes=MAX_MESSAGE_BYTES,
    )


def _host_port(address: str) -> tuple[str, int]:
    parts = urlsplit(f"//{address}")
    if parts.hostname is None:
        raise ValueError(f"webrtc.stun_server: {address!r} is not host:port")
    return parts.hostname, parts.port or STUN_PORT


def _relay(url: str) -> TurnServer:
    parts = urlsplit(url.replace("turn:", "turn://", 1).replace("turns:", "turns://", 1))
    if parts.hostname is None or parts.username is None or parts.password is None:
        raise ValueError("webrtc.relay_url is not turn:user:password@host:port")
    return TurnServer(
        host=parts.hostname,
        port=parts.port or STUN_PORT,
        username=unquote(parts.username),
        password=unquote(parts.password),
        tls=parts.scheme == "turns",
    )
