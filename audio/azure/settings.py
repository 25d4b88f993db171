"""What an Azure Speech engine is told: where the service is, how to recognise and speak, and how long to wait.

Frozen values without defaults for anything that names a place. Knows no SDK and no secret (``credentials`` has those).
Built by the composition root.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Profanity = Literal["masked", "removed", "raw"]
Segmentation = Literal["default", "silence", "semantic"]

_TTS_V2: Final = "/cognitiveservices/websocket/v2"


@dataclass(frozen=True, slots=True)
class AzurePlace:
    """Where the service is: exactly one of ``region``, ``host`` (scheme and name) and ``endpoint`` (a whole URL).

    ``resource_id`` is the Azure resource's path, which tokens of Microsoft Entra need beside the token.

    Raises:
        ValueError: not exactly one place, or an address that is no WebSocket's or web server's.
    """

    region: str | None = None
    host: str | None = None
    endpoint: str | None = None
    resource_id: str | None = None

    def __post_init__(self) -> None:
        if sum(place is not None for place in (self.region, self.host, self.endpoint)) != 1:
            raise ValueError("name exactly one of region, host and endpoint")
        address = self.host or self.endpoint
        if address is not None and not address.startswith(("ws://", "wss://", "http://", "https://")):
            raise ValueError(f"{address} is not the address of a service")

    @property
    def text_stream_endpoint(self) -> str:
        """Where text may be sent piece by piece: the second version of the speaking socket."""
        if self.region is not None:
            return f"wss://{self.region}.tts.speech.microsoft.com{_TTS_V2}"
        if self.host is not None:
            return self.host.rstrip("/") + _TTS_V2
        assert self.endpoint is not None
        base, _, rest = self.endpoint.partition("://")
        name = rest.partition("/")[0]
        return f"{base}://{name}{_TTS_V2}" if "/v1" not in rest else self.endpoint.replace("/v1", "/v2")


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """``spares`` are connected in advance, up to ``keep`` unused ones are kept, at most ``most`` exist; one unused for
    ``max_idle_s`` is replaced. Every ``check_s`` those that lost their socket are."""

    spares: int = 2
    keep: int = 32
    most: int = 64
    max_idle_s: float = 240.0
    check_s: float = 10.0
    make_limit_s: float = 5.0
    first_retry_s: float = 0.5
    longest_retry_s: float = 30.0


@dataclass(frozen=True, slots=True)
class AzureSttLimits:
    """Our own watchdogs, in seconds: the SDK goes silent in several faults.

    ``connect_s``: a recognizer asked for until its socket stands. ``first_result_s``: speech sent until the service
    says anything about it. ``silence_s``: speech going on until the next word of the service. ``final_s``: a flush
    until its answer. ``settle_s``: how long a flush waits for better than finals that do not reach the end;
    ``interim_s``: the same for a hypothesis.
    ``stop_s``: closing until given up. ``session_s``: how long the service lets one connection last; another takes over
    at the first turn within ``session_margin_s`` of it.
    """

    connect_s: float = 1.5
    first_result_s: float = 2.5
    silence_s: float = 6.0
    final_s: float = 1.5
    settle_s: float = 0.2
    interim_s: float = 0.6
    stop_s: float = 2.0
    session_s: float = 540.0
    session_margin_s: float = 30.0
    idle_s: float = 60.0
    correction_s: float = 3.0


@dataclass(frozen=True, slots=True)
class AzureSttSettings:
    """Recognition. ``languages`` (two to ten locales) has the service tell which of them is spoken.

    ``segmentation_ms`` is the silence after which the service ends a phrase by itself; a flush sends a little more
    than that of silence (``tail_ms``) at once, beside an inline commit.
    """

    place: AzurePlace
    locale: str = "en-US"
    languages: tuple[str, ...] = ()
    profanity: Profanity = "masked"
    dictation: bool = False
    segmentation: Segmentation = "silence"
    segmentation_ms: int = 300
    tail_ms: int = 340
    commit: bool = True
    stable_partials: int = 0
    phrase_weight: float = 1.0
    custom_endpoint_id: str | None = None
    limits: AzureSttLimits = field(default_factory=AzureSttLimits)
    pool: PoolOptions = field(default_factory=PoolOptions)


@dataclass(frozen=True, slots=True)
class AzureTtsLimits:
    """Watchdogs of speaking, in seconds; ``part_characters`` bounds what one request carries."""

    connect_s: float = 1.5
    first_audio_s: float = 2.5
    gap_s: float = 3.0
    part_characters: int = 1_000


@dataclass(frozen=True, slots=True)
class AzureVoice:
    """How to speak where the request does not say: the voice, and what SSML adds to it.

    ``style_degree`` is 0.01 to 2; ``role`` is one of the voice's roles; ``pitch`` and ``volume`` are SSML's
    (``"+5%"``, ``"loud"``).
    """

    name: str = "en-US-AvaMultilingualNeural"
    style: str | None = None
    style_degree: float | None = None
    role: str | None = None
    pitch: str | None = None
    volume: str | None = None
    lexicon_uri: str | None = None
    leading_silence_ms: int | None = 0
    trailing_silence_ms: int | None = None
    sentence_pause_ms: int | None = None

    @property
    def needs_ssml(self) -> bool:
        """Whether it asks for what a text stream cannot carry: degree, role, pauses."""
        asked = (self.style_degree, self.role, self.trailing_silence_ms, self.sentence_pause_ms)
        return bool(self.leading_silence_ms) or any(one is not None for one in asked)


@dataclass(frozen=True, slots=True)
class AzureTtsSettings:
    """Speaking. ``visemes`` asks for mouth shapes, which cost the service a message each.

    ``text_streaming``: replies are spoken while they are written, unless the voice ``needs_ssml``.
    """

    place: AzurePlace
    voice: AzureVoice = field(default_factory=AzureVoice)
    locales: frozenset[str] = frozenset({"en"})
    visemes: bool = False
    text_streaming: bool = True
    limits: AzureTtsLimits = field(default_factory=AzureTtsLimits)
    pool: PoolOptions = field(default_factory=PoolOptions)

    @property
    def streams_text(self) -> bool:
        """Whether replies are spoken while they are written."""
        return self.text_streaming and not self.voice.needs_ssml
