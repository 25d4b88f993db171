"""What the server knows of WebRTC: the options a peer is given, the calls it takes, and what it tells its listener.

Owns names and limits only. ``server.transports.rtc.hub.RtcHub`` makes peers; sessions hold them through ``Peer`` and
``Channel``. Everything happens on the event loop; samples are mono int16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from audio.codecs.libopus import EncoderOptions
from audio.formats import Samples

MAX_DESCRIPTION_BYTES = 65_536
"""An offer may be this long."""


class RtcError(Exception):
    """Base of what this package raises on purpose."""


class BadOffer(RtcError):
    """A description that cannot be answered; the message says why, in a sentence fit for the client."""


class IceUnavailable(RtcError):
    """No address to be reached at: every UDP port of the range is taken, or no interface may be used."""


class PeerClosed(RtcError):
    """The peer is closed, and the call came too late."""


class ChannelClosed(RtcError):
    """The channel is closed, or did not take a message within its limit."""


class PeerState(StrEnum):
    """``disconnected``: nothing has been heard for a while; it may come back. ``closed``: it will not."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    CLOSED = "closed"


CloseReason = Literal[
    "closed_here", "closed_by_peer", "connect_timeout", "connect_failed", "connection_lost", "internal_error"
]


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A relay for the server's own side. ``transport`` is how the relay is reached."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    transport: Literal["udp", "tcp"] = "udp"
    tls: bool = False


@dataclass(frozen=True, slots=True)
class IceOptions:
    """Where peers are reached.

    ``bind_addresses`` (empty: every interface's) are the local IP addresses used. ``advertised_addresses`` stand in
    the answer in their place where an address translator with the same ports lies before them; an IP version without
    one keeps its own. ``port_min`` and ``port_max`` bound the UDP ports (0: any). Loopback is used when asked for, or
    when there is nothing else.

    Raises:
        ValueError: a range of ports that is none.
    """

    use_ipv4: bool = True
    use_ipv6: bool = True
    include_loopback: bool = False
    bind_addresses: tuple[str, ...] = ()
    advertised_addresses: tuple[str, ...] = ()
    port_min: int = 0
    port_max: int = 0
    stun_server: tuple[str, int] | None = None
    turn_server: TurnServer | None = None
    gather_limit_s: float = 2.0
    max_remote_candidates: int = 40

    def __post_init__(self) -> None:
        if (self.port_min, self.port_max) != (0, 0) and not 1 <= self.port_min <= self.port_max <= 65_535:
            raise ValueError(f"UDP ports {self.port_min} to {self.port_max} are no range")


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """One peer's limits.

    ``connect_limit_s`` is from the answer to media; ``disconnected_after_s`` and ``lost_after_s`` without a datagram
    change the state and end the peer (RFC 7675 asks for at most 30 s). ``max_queued_ms`` bounds audio waiting to be
    sent, ``send_buffer_bytes`` what a channel buffers, ``send_limit_s`` how long a message waits for room in it. With
    ``ask_for_dtx`` browsers stop sending while their user is silent.
    """

    ice: IceOptions = field(default_factory=IceOptions)
    opus: EncoderOptions = field(default_factory=EncoderOptions)
    ask_for_dtx: bool = False
    max_queued_ms: int = 10_000
    connect_limit_s: float = 15.0
    disconnected_after_s: float = 7.0
    lost_after_s: float = 30.0
    close_limit_s: float = 2.0
    max_message_bytes: int = 65_536
    max_channels: int = 16
    send_buffer_bytes: int = 262_144
    send_limit_s: float = 10.0

    def __post_init__(self) -> None:
        if not 1_024 <= self.max_message_bytes <= 262_144:
            raise ValueError(f"data channel messages may have 1024 to 262144 bytes, not {self.max_message_bytes}")


@dataclass(frozen=True, slots=True)
class PeerStats:
    """How the connection does. Inbound is what we hear, outbound what the other side reports (None: nothing yet)."""

    received_packets: int = 0
    lost_packets: int = 0
    recovered_packets: int = 0
    concealed_packets: int = 0
    late_packets: int = 0
    duplicate_packets: int = 0
    silence_ms: int = 0
    inbound_jitter_ms: float = 0.0
    reorder_wait_ms: float = 0.0
    sent_packets: int = 0
    sent_bytes: int = 0
    round_trip_ms: float | None = None
    outbound_loss: float | None = None
    outbound_jitter_ms: float | None = None


class Channel(Protocol):
    """One data channel the other side opened."""

    on_message: Callable[[str | bytes], None] | None
    """Called with each message; those that come before it is set are kept (up to a bound) and delivered then."""

    on_close: Callable[[], None] | None

    @property
    def label(self) -> str: ...

    @property
    def protocol(self) -> str: ...

    @property
    def open(self) -> bool: ...

    async def send(self, message: str | bytes) -> None:
        """Waits while the buffer is full. Raises ChannelClosed; ValueError for more than the other side takes."""
        ...

    def close(self) -> None: ...


class PeerListener(Protocol):
    """Who a peer tells. Calls are plain and must not block; one that raises ends its peer."""

    def on_audio(self, samples: Samples) -> None:
        """What was heard next: 16 kHz, in order, silence included, at the pace of time."""
        ...

    def on_channel(self, channel: Channel) -> None: ...

    def on_state(self, state: PeerState, reason: CloseReason | None) -> None:
        """``reason`` comes with ``closed``, once, as the last call."""
        ...


class Peer(Protocol):
    """One connection, answering side."""

    @property
    def state(self) -> PeerState: ...

    @property
    def stats(self) -> PeerStats: ...

    @property
    def queued_ms(self) -> float:
        """Audio still waiting to be sent."""
        ...

    @property
    def played_samples(self) -> int:
        """Samples sent, of those given to ``play``, in the rates they were given at."""
        ...

    async def answer(self, offer: str) -> str:
        """The answer to the first offer; connecting begins. Raises BadOffer, IceUnavailable, PeerClosed."""
        ...

    async def renegotiate(self, offer: str) -> str:
        """The answer to a later offer: an ICE restart, or nothing new. Raises as ``answer`` does."""
        ...

    async def add_candidates(self, fragment: str) -> None:
        """Candidates that came after the offer: ``a=candidate`` lines of an SDP fragment (RFC 8840).

        Those of another generation (``a=ice-ufrag``), and any that cannot be used, are passed over.
        """
        ...

    def play(self, samples: Samples, rate_hz: int) -> int:
        """Queue speech; returns how many samples were taken (fewer where the queue is full)."""
        ...

    def clear(self) -> int:
        """Drop what is queued, at once; returns how many samples that were."""
        ...

    async def wait_closed(self) -> CloseReason:
        """Returns once the peer is closed and everything of it freed."""
        ...

    async def close(self) -> None:
        """Say goodbye and free everything; returns when that is done. Harmless when closed."""
        ...
