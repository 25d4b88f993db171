"""The settings' section about Azure Speech; see ``server.settings``."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from audio.azure.settings import AzureVoice
from server.setting_types import Section, Words

_PITCH: Final = r"^(x-low|low|medium|high|x-high|default|[+-]?\d{1,3}(\.\d+)?(%|Hz|st))$"
_VOLUME: Final = r"^(silent|x-soft|soft|medium|loud|x-loud|default|[+-]?\d{1,3}(\.\d+)?%?)$"
VOICE_PATTERN: Final = r"^[a-z]{2,3}-[A-Za-z]{2,8}-[\w:-]{1,80}$"
"""How Azure names its voices: locale first."""


class AzureSettings(Section):
    """The Azure Speech resource: where it is (one of ``region``, ``host``, ``endpoint``), who asks, and how.

    ``key``, or ``managed_identity`` with the resource's ``resource_id`` (``client_id`` names a user-assigned one).
    ``languages`` (two to ten locales) has the service tell which of them is spoken. ``text_streaming`` ``auto`` speaks
    replies while they are written, unless something is asked for that only SSML can say. ``visemes`` has the service
    tell mouth shapes, for the clients that ask for them. After failures the service is left alone for
    ``breaker_pause_s``, twice as long each time that was in vain, up to ``breaker_longest_pause_s``.
    """

    region: str | None = Field(default=None, pattern=r"^[a-z0-9]{2,40}$")
    host: str | None = None
    endpoint: str | None = None
    key: SecretStr | None = Field(default=None, min_length=1)
    managed_identity: bool = False
    resource_id: str | None = None
    client_id: str | None = None
    languages: Words = ()
    profanity: Literal["masked", "removed", "raw"] = "masked"
    dictation: bool = False
    custom_endpoint_id: str | None = None
    voice: str = Field(default="en-US-AvaMultilingualNeural", pattern=VOICE_PATTERN)
    style: str | None = None
    style_degree: float | None = Field(default=None, ge=0.01, le=2)
    role: str | None = None
    pitch: str | None = Field(default=None, pattern=_PITCH)
    volume: str | None = Field(default=None, pattern=_VOLUME)
    lexicon_uri: str | None = Field(default=None, pattern=r"^https://\S+$")
    sentence_pause_ms: int | None = Field(default=None, ge=0, le=5_000)
    text_streaming: Literal["auto", "on", "off"] = "off"
    visemes: bool = True
    spares: int = Field(default=2, ge=1, le=100)
    most: int = Field(default=64, ge=1, le=1_000)
    breaker_pause_s: float = Field(default=5.0, ge=0.1, le=600.0)
    breaker_longest_pause_s: float = Field(default=120.0, ge=0.1, le=3_600.0)

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        places = [place for place in (self.region, self.host, self.endpoint) if place is not None]
        if len(places) > 1:
            raise ValueError("azure.region, azure.host and azure.endpoint exclude each other")
        for address in (self.host, self.endpoint):
            if address is not None and not address.startswith(("wss://", "https://", "ws://", "http://")):
                raise ValueError(f"{address!r} is not the address of a service (wss://...)")
        if self.key is not None and self.managed_identity:
            raise ValueError("azure.key and azure.managed_identity exclude each other")
        if self.languages and not 2 <= len(self.languages) <= 10:
            raise ValueError("azure.languages must name two to ten locales")
        if self.text_streaming == "on" and self.speaker.needs_ssml:
            only = "azure.style_degree, azure.role and azure.sentence_pause_ms"
            raise ValueError(f"azure.text_streaming = 'on' excludes {only}, which only whole phrases can have")
        if self.breaker_pause_s > self.breaker_longest_pause_s:
            raise ValueError("azure.breaker_pause_s must not exceed azure.breaker_longest_pause_s")
        if self.spares > self.most:
            raise ValueError("azure.spares must not exceed azure.most")
        return self

    @property
    def speaker(self) -> AzureVoice:
        """The voice, and how it speaks."""
        return AzureVoice(
            name=self.voice,
            style=self.style,
            style_degree=self.style_degree,
            role=self.role,
            pitch=self.pitch,
            volume=self.volume,
            lexicon_uri=self.lexicon_uri,
            sentence_pause_ms=self.sentence_pause_ms,
        )

    @property
    def usable(self) -> bool:
        """Whether place and credential are named."""
        return bool(self.region or self.host or self.endpoint) and (self.key is not None or self.managed_identity)
