"""The settings' section about SIP; see ``server.settings``."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, FilePath, SecretStr, model_validator
from pydantic_settings import NoDecode

from server.setting_types import Section, Words, comma_separated

SipCodec = Literal["opus", "g722", "pcmu", "pcma"]
Codecs = Annotated[tuple[SipCodec, ...], NoDecode, BeforeValidator(comma_separated)]
Digests = Annotated[tuple[Literal["MD5", "SHA-256"], ...], NoDecode, BeforeValidator(comma_separated)]


class SipTrunk(Section):
    """A provider or a PBX: who may call from where, and how it is called and registered with.

    Requests from ``networks`` (and, where we register, from ``host``) are its own, without a password. ``user`` and
    ``password`` are ours with it. ``tenant`` is who its calls belong to.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_\-]{0,39}$")
    networks: Words = ()
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65_535)
    transport: Literal["udp", "tcp", "tls"] = "udp"
    user: str | None = Field(default=None, max_length=100)
    password: SecretStr | None = None
    registers: bool = False
    register_s: int = Field(default=300, ge=30, le=86_400)
    tenant: str | None = None
    invites_per_s: int = Field(default=50, ge=1, le=10_000)

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        for network in self.networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"sip.trunks: {network!r} is no network such as 192.0.2.0/24") from error
        if self.registers and (self.host is None or self.user is None):
            raise ValueError(f"sip.trunks: to register with {self.name}, its host and our user there must be set")
        return self


class SipUser(Section):
    """A softphone or desk phone that calls us directly, known by its password wherever it calls from."""

    name: str = Field(pattern=r"^[A-Za-z0-9._+\-]{1,64}$")
    password: SecretStr
    tenant: str | None = None

    @model_validator(mode="after")
    def _is_no_easy_prey(self) -> Self:
        if len(self.password.get_secret_value()) < 12:
            raise ValueError(f"sip.users: the password of {self.name} must have at least 12 characters")
        return self


class SipSettings(Section):
    """Telephone calls by SIP, without anything between. Off unless ``enabled``.

    A port that is not set is not listened on; 0 takes any free one. ``public_address`` is told to peers in place of
    this machine's own where it is behind an address translator. ``rtp_ports`` is a range; a call takes two of it.
    ``digest`` are the hashes users are challenged with, best first: many telephones give up where they find SHA-256.
    """

    enabled: bool = False
    bind: str = "0.0.0.0"  # noqa: S104 - telephony comes from elsewhere; who is not known is refused
    udp_port: int | None = Field(default=5060, ge=0, le=65_535)
    tcp_port: int | None = Field(default=5060, ge=0, le=65_535)
    tls_port: int | None = Field(default=None, ge=0, le=65_535)
    tls_certificate: FilePath | None = None
    tls_key: FilePath | None = None
    tls_ca: FilePath | None = None
    public_address: str | None = None
    rtp_ports: str = Field(default="40000-40999", pattern=r"^\d{1,5}-\d{1,5}$")
    trunks: tuple[SipTrunk, ...] = ()
    users: tuple[SipUser, ...] = ()
    realm: str = Field(default="convergio-voice", pattern=r"^[A-Za-z0-9.\-]{1,64}$")
    digest: Digests = ("MD5",)
    codecs: Codecs = ("opus", "g722", "pcmu", "pcma")
    srtp: Literal["off", "optional", "required"] = "optional"
    max_calls: int = Field(default=100, ge=1, le=10_000)
    answer_delay_ms: int = Field(default=0, ge=0, le=30_000)
    session_expires_s: int = Field(default=1_800, ge=0, le=86_400)
    rtp_timeout_s: float = Field(default=30.0, ge=1, le=3_600)
    keepalive_s: float = Field(default=25.0, ge=5, le=3_600)

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        low, high = self.rtp_range
        if not 1_024 <= low < high <= 65_535:
            raise ValueError("sip.rtp_ports: a range from 1024 to 65535 such as 40000-40999")
        if (self.tls_port is not None) and (self.tls_certificate is None or self.tls_key is None):
            raise ValueError("sip.tls_port needs sip.tls_certificate and sip.tls_key")
        if not self.codecs or not self.digest:
            raise ValueError("sip.codecs and sip.digest: at least one each")
        try:
            ipaddress.ip_address(self.bind)
        except ValueError as error:
            raise ValueError("sip.bind: an address of this machine, such as 0.0.0.0") from error
        for kind, names in (("trunks", [one.name for one in self.trunks]), ("users", [one.name for one in self.users])):
            if len(set(names)) < len(names):
                raise ValueError(f"sip.{kind}: every entry needs a name of its own")
        if self.enabled and self.udp_port is None and self.tcp_port is None and self.tls_port is None:
            raise ValueError("sip.enabled needs sip.udp_port, sip.tcp_port or sip.tls_port")
        return self

    @property
    def rtp_range(self) -> tuple[int, int]:
        """First and last port of media."""
        low, _, high = self.rtp_ports.partition("-")
        return int(low), int(high)
