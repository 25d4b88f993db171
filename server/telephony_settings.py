"""The settings' section about telephone calls: manners, carriers and who may call; see ``server.settings``.

What is common to all carriers is here, and a table for each carrier of media streams. SIP has a section of its own.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, model_validator

from server.hold_music_choice import OFF, TONES, check
from server.setting_types import Secrets, Section, Words
from server.tenant_settings import DEFAULT_TENANT

MIN_SECRET_CHARS: Final = 16
NUMBER_PATTERN: Final = r"^(\+[1-9]\d{4,14}|sips?:[^\s<>\"]{3,200})$"
"""E.164, or a SIP URI."""

Number = Annotated[str, Field(pattern=NUMBER_PATTERN)]
Secret = Annotated[SecretStr, Field(min_length=MIN_SECRET_CHARS)]


class TwilioSettings(Section):
    """A Twilio account: its ``auth_token`` signs what Twilio asks of us, and opens its REST API.

    ``number`` is whom outbound calls come from.
    """

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$")
    auth_token: Secret
    number: Number | None = None
    api_url: str = Field(default="https://api.twilio.com", pattern=r"^https?://[^\s]+$")


class AcsSettings(Section):
    """An Azure Communication Services resource: ``endpoint`` and ``key`` open Call Automation.

    ``resource_id`` (immutable; the audience of its tokens) tells that a request is meant for us. ``webhook_secret`` is
    the ``code`` in the address Event Grid posts to. ``number`` is whom outbound calls come from.
    """

    endpoint: str = Field(pattern=r"^https?://[^\s/]+$")
    key: Secret
    resource_id: str = Field(min_length=8, max_length=200)
    webhook_secret: Secret
    number: Number | None = None
    issuer: str = Field(default="https://acscallautomation.communication.azure.com", pattern=r"^https?://[^\s]+$")
    openid_configuration: str = Field(
        default="https://acscallautomation.communication.azure.com/calling/.well-known/acsopenidconfiguration",
        pattern=r"^https?://[^\s]+$",
    )

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        try:
            base64.b64decode(self.key.get_secret_value(), validate=True)
        except ValueError:
            raise ValueError("telephony.acs.key is no access key: they are base64") from None
        return self


class AudioSocketSettings(Section):
    """Asterisk's AudioSocket: a TCP port of its own. The protocol has no secret: who may connect is a list of networks.

    ``port`` ``None``: it is off.
    """

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=0, le=65_535)
    networks: Words = ("127.0.0.0/8", "::1/128")
    max_calls: int = Field(default=100, ge=1, le=10_000)

    @model_validator(mode="after")
    def _are_networks(self) -> Self:
        for network in self.networks:
            ipaddress.ip_network(network)  # the message says what is wrong with it
        return self


RecordingMode = Literal["off", "announce", "ask"]
"""Nothing is recorded; the agent says that the call is recorded; it asks, and records after a yes."""


class RecordingSettings(Section):
    """Which calls are recorded, with consent (``retention.recording`` has to allow it).

    The first that is named counts: our number of the call in ``numbers``, its agent in ``agents``, its tenant in
    ``tenants``, else ``mode``. A recording ends at ``max_minutes`` or ``max_megabytes``, and where less than
    ``free_megabytes`` of the disk are left.
    """

    mode: RecordingMode = "off"
    numbers: dict[str, RecordingMode] = Field(default_factory=dict[str, RecordingMode])
    agents: dict[str, RecordingMode] = Field(default_factory=dict[str, RecordingMode])
    tenants: dict[str, RecordingMode] = Field(default_factory=dict[str, RecordingMode])
    max_minutes: float = Field(default=120.0, gt=0, le=24 * 60)
    max_megabytes: int = Field(default=1_000, ge=1, le=4_000)
    free_megabytes: int = Field(default=500, ge=0, le=10_000_000)

    def of(self, number: str, agent_id: str, tenant_id: str) -> RecordingMode:
        """What is done in this call."""
        by_tenant = self.tenants.get(tenant_id, self.mode)
        return self.numbers.get(number, self.agents.get(agent_id, by_tenant))

    @property
    def wanted(self) -> bool:
        """Whether any call is recorded."""
        modes = (self.mode, *self.numbers.values(), *self.agents.values(), *self.tenants.values())
        return any(mode != "off" for mode in modes)


class TelephonySettings(Section):
    """How the agent behaves on the telephone, and which carriers bring calls.

    ``public_url`` is this server's address as carriers reach it. ``stream_secrets`` open the media streams of carriers
    that sign nothing. Calls belong to ``tenant``. ``greeting`` ``None``: the agent's own, else a plain one.
    ``dial_prefixes`` are how numbers begin that may be called by ``POST /v1/calls``: none, unless it is said.
    ``transfer_targets`` are the only numbers the agent may transfer to, by the names it knows them under.
    ``hold_music`` is what a caller hears who waits for one of them: ``tones``, ``off``, or a WAV's path.
    """

    tenant: str = DEFAULT_TENANT
    locale: str = Field(default="en-US", pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")
    greeting: str | None = Field(default=None, max_length=500)
    greeting_after_s: float = Field(default=0.5, ge=0, le=10)
    silence_s: float = Field(default=8.0, ge=2, le=120)
    silence_prompts: int = Field(default=2, ge=0, le=10)
    max_call_minutes: float = Field(default=30.0, gt=0, le=24 * 60)
    warn_before_s: float = Field(default=60.0, ge=0, le=600)
    caller_id: bool = True
    transfer_targets: dict[str, Number] = Field(default_factory=dict[str, Number])
    max_calls: int = Field(default=200, ge=1, le=10_000)
    dial_prefixes: Words = ()
    dials_per_minute: int = Field(default=30, ge=1, le=6_000)
    ring_timeout_s: int = Field(default=30, ge=5, le=120)
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/?#]+$")
    stream_secrets: Secrets = ()
    twilio: TwilioSettings | None = None
    acs: AcsSettings | None = None
    audiosocket: AudioSocketSettings = AudioSocketSettings()
    recording: RecordingSettings = RecordingSettings()
    hold_music: str = TONES

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if (self.twilio or self.acs) and self.public_url is None:
            raise ValueError("telephony.twilio and telephony.acs need telephony.public_url: what carriers sign")
        if self.hold_music not in {TONES, OFF}:
            try:
                check(self.hold_music)
            except ValueError as error:
                raise ValueError(f"telephony.hold_music: {error}") from error
        if any(len(secret.get_secret_value()) < MIN_SECRET_CHARS for secret in self.stream_secrets):
            raise ValueError(f"telephony.stream_secrets: each needs at least {MIN_SECRET_CHARS} characters")
        return self
