"""The one settings object: what an operator may choose, checked once at start and never changed afterwards.

Values come, weakest first, from the defaults below, a TOML file (``--config``, ``CONVERGIO_CONFIG``, or
``convergio.toml`` in the working directory), ``CONVERGIO_*`` environment variables (``__`` between levels), and the
command line. This is the only module that reads the environment. Knows no engine and no route; built by
``server.cli`` and by tests, and handed to everything else.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from agents.core.budget_profiles import Profile
from server.azure_settings import AzureSettings
from server.budget_settings import BudgetSettings
from server.identity_settings import IdentitySettings
from server.latency_settings import LatencySettings
from server.ledger_settings import LedgerSettings
from server.memory import share_heaps
from server.model_settings import ModelSettings
from server.permissions import TenantType
from server.retention_settings import RetentionSettings
from server.setting_types import Directory, Secrets, Section, Words
from server.sip_settings import SipSettings
from server.speech_settings import AGENT_ID, EngineRule, SpeechSettings, SttSettings, TtsSettings
from server.telemetry_settings import TelemetrySettings, standard_telemetry
from server.telephony_settings import TelephonySettings
from server.tenant_settings import DEFAULT_TENANT, RESERVED, TenantSettings
from server.vault_settings import VaultSettings
from server.webhook_settings import WebhookSettings
from server.webrtc_settings import WebRtcSettings

ENV_PREFIX: Final = "CONVERGIO_"
CONFIG_FILE_VARIABLE: Final = "CONVERGIO_CONFIG"
DEFAULT_CONFIG_FILE: Final = Path("convergio.toml")
MIN_API_KEY_CHARS: Final = 16


class SettingsError(Exception):
    """The settings cannot be used. ``problems`` are sentences for the operator, one per fault."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


def _data_home() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "convergio-voice"


class Limits(Section):
    """What one server and one client may take. Every queue and wait of the edge has its bound here."""

    max_sessions: int = Field(default=200, ge=1, le=10_000)
    max_sessions_per_key: int | None = Field(default=None, ge=1, le=10_000)
    max_connecting_per_key: int = Field(default=50, ge=1, le=10_000)
    responses_per_minute: int = Field(default=120, ge=1, le=10_000)
    max_message_bytes: int = Field(default=256 * 1024, ge=4_096, le=16 * 1024 * 1024)
    max_body_bytes: int = Field(default=64 * 1024, ge=1_024, le=16 * 1024 * 1024)
    max_bad_messages: int = Field(default=20, ge=1, le=10_000)
    session_minutes: int = Field(default=60, ge=1, le=24 * 60)
    idle_timeout_s: float = Field(default=300.0, ge=1, le=3_600)
    handshake_timeout_s: float = Field(default=10.0, ge=0.1, le=60)
    send_timeout_s: float = Field(default=10.0, ge=0.1, le=120)
    resume_window_s: float = Field(default=30.0, ge=0, le=600)
    replay_buffer_bytes: int = Field(default=256 * 1024, ge=0, le=16 * 1024 * 1024)
    drain_grace_s: float = Field(default=10.0, ge=0, le=300)
    chat_timeout_s: float = Field(default=60.0, ge=1, le=600)
    max_azure_connections: int = Field(default=256, ge=2, le=10_000)
    max_tenant_accounts: int = Field(default=32, ge=1, le=1_000)
    account_idle_s: float = Field(default=300.0, ge=1, le=24 * 3_600)


class AgentSettings(Section):
    """The agent that answers. ``instructions`` replace the built-in ones; a ``greeting`` is spoken first."""

    name: str = Field(default="Convergio", min_length=1, max_length=80)
    description: str = Field(default="A friendly voice assistant.", max_length=200)
    greeting: str | None = Field(default=None, max_length=500)
    instructions: str | None = Field(default=None, max_length=20_000)
    max_output_tokens: int = Field(default=256, ge=16, le=8_192)
    temperature: float = Field(default=0.6, ge=0, le=2)


class LogSettings(Section):
    """What is logged. Words people say are kept out unless ``transcripts`` is on."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "plain", "json"] = "auto"
    transcripts: bool = False


class Settings(BaseSettings):
    """Everything an operator may choose. See ``convergio.example.toml`` for each value in words."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    data_dir: Directory = Field(default_factory=_data_home)
    api_keys: Secrets = ()
    allowed_origins: Words = ()
    allowed_hosts: Words = ()
    limits: Limits = Limits()
    stt: SttSettings = SttSettings()
    tts: TtsSettings = TtsSettings()
    azure: AzureSettings = AzureSettings()
    tenants: tuple[TenantSettings, ...] = ()
    engine_rules: tuple[EngineRule, ...] = ()
    model: ModelSettings = ModelSettings()
    speech: SpeechSettings = SpeechSettings()
    agent: AgentSettings = AgentSettings()
    webrtc: WebRtcSettings = WebRtcSettings()
    sip: SipSettings = SipSettings()
    telephony: TelephonySettings = TelephonySettings()
    latency: LatencySettings = LatencySettings()
    ledger: LedgerSettings = LedgerSettings()
    identity: IdentitySettings = IdentitySettings()
    budgets: BudgetSettings = BudgetSettings()
    vault: VaultSettings = VaultSettings()
    retention: RetentionSettings = RetentionSettings()
    webhooks: WebhookSettings = WebhookSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _doors_are_locks(self) -> Self:
        if any(len(key.get_secret_value()) < MIN_API_KEY_CHARS for _, key in self.keys):
            raise ValueError(f"every entry of api_keys must have at least {MIN_API_KEY_CHARS} characters")
        for origin in self.allowed_origins:
            if not origin.startswith(("https://", "http://")) or origin.count("/") != 2:
                raise ValueError(f"allowed_origins: {origin!r} is not an origin such as https://voice.example.org")
        return self

    @model_validator(mode="after")
    def _tenants_are_told_apart(self) -> Self:
        ids = [tenant.id for tenant in self.tenants]
        if len(set(ids)) < len(ids):
            raise ValueError("every tenant needs an id of its own")
        secrets = [key.get_secret_value() for _, key in self.keys]
        if len(set(secrets)) < len(secrets):
            raise ValueError("a key stands twice in api_keys: every key belongs to one tenant")
        if self.telephony.tenant not in {*ids, *RESERVED}:
            raise ValueError(f"telephony.tenant: there is no tenant called {self.telephony.tenant}")
        named = [("engine_rules", rule) for rule in self.engine_rules]
        for where, rule in (*named, *(("latency.rules", rule) for rule in self.latency.rules)):
            if rule.tenant is not None and rule.tenant not in {*ids, *RESERVED}:
                raise ValueError(f"{where}: there is no tenant called {rule.tenant}")
            if rule.agent not in (None, AGENT_ID):
                raise ValueError(f"{where}: there is no agent called {rule.agent} (see /v1/agents)")
        return self

    @model_validator(mode="after")
    def _callers_are_attributed(self) -> Self:
        known = {*(tenant.id for tenant in self.tenants), *RESERVED}
        for one in (*self.sip.trunks, *self.sip.users):
            if one.tenant is not None and one.tenant not in known:
                raise ValueError(f"sip: there is no tenant called {one.tenant}")
        return self

    @model_validator(mode="after")
    def _recording_is_permitted(self) -> Self:
        if self.telephony.recording.wanted and not self.retention.recording:
            raise ValueError("telephony.recording: nothing can be recorded while retention.recording is false")
        return self

    @model_validator(mode="after")
    def _budgets_make_sense(self) -> Self:
        self.latency.check(self.default_profiles)
        return self

    @model_validator(mode="after")
    def _azure_is_named(self) -> Self:
        if "azure" in (self.stt.engine, self.tts.engine) and not self.azure.usable:
            raise ValueError(
                "stt.engine or tts.engine is azure, so azure.region (or azure.host, or azure.endpoint) must say where "
                "the service is, and azure.key must hold its key (or azure.managed_identity be true)"
            )
        with_account = {tenant.id for tenant in self.tenants if tenant.azure is not None}
        for rule in self.engine_rules:
            served = self.azure.usable or (with_account if rule.tenant is None else rule.tenant in with_account)
            if "azure" in (*rule.stt, *rule.tts) and not served:
                raise ValueError(
                    "engine_rules: a rule names azure, but nobody it is for has an account: "
                    "azure, or azure of the tenant, must be set"
                )
        return self

    @property
    def keys(self) -> tuple[tuple[str, SecretStr], ...]:
        """Every API key of the settings with the tenant it belongs to; others are in the database."""
        own = tuple((DEFAULT_TENANT, key) for key in self.api_keys)
        return own + tuple((tenant.id, key) for tenant in self.tenants for key in tenant.api_keys)

    @property
    def guarded(self) -> bool:
        """Whether everybody must say who they are; else who comes from this machine need not."""
        return bool(self.keys) or self.identity.require_keys or not self.loopback

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def default_profiles(self) -> tuple[Profile, ...]:
        """The latency profiles that sessions may get by default here; which one may depend on the tenant."""
        if self.latency.profile != "auto":
            return (self.latency.profile,)
        if self.model.kind == "openai":
            return ("azure",)
        accounts = self.azure.usable or any(tenant.azure is not None for tenant in self.tenants)
        return ("embedded", "azure") if accounts else ("embedded",)

    @property
    def ledger_path(self) -> Path:
        """The usage ledger's file, where it is one."""
        return self.data_dir / "usage.sqlite3"

    @property
    def records_path(self) -> Path:
        """The records' file, where they are in one: audit log, keys, budgets."""
        return self.data_dir / "records.sqlite3"

    def tenant_type(self, tenant_id: str) -> TenantType | None:
        """What kind of tenant it is; None where the settings do not know it."""
        if tenant_id in RESERVED:
            return "consumer" if tenant_id == "local" else "business"
        return next((tenant.type for tenant in self.tenants if tenant.id == tenant_id), None)

    @property
    def journal_path(self) -> Path:
        """Where usage is written before it is in the ledger."""
        return self.data_dir / "journal"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file; no dotenv, no secrets directory."""
        assert isinstance(init_settings, InitSettingsSource)
        # The library leaves this attribute's type open.
        given = dict(cast("dict[str, Any]", init_settings.init_kwargs))  # pyright: ignore[reportUnknownMemberType]
        file: Path | None = given.pop(_FILE_KEY, None)
        sources: list[PydanticBaseSettingsSource] = [
            InitSettingsSource(settings_cls, init_kwargs=given),
            EnvSettingsSource(settings_cls),
            InitSettingsSource(settings_cls, init_kwargs=standard_telemetry(os.environ)),
        ]
        if file is not None:
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=file))
        return tuple(sources)


_FILE_KEY: Final = "_toml_file_"


def load_settings(config_file: Path | None = None, **overrides: Any) -> Settings:
    """Read, check and freeze the settings; ``overrides`` (None is skipped) win over everything.

    Raises:
        SettingsError: a file that cannot be read, an unknown name, a value out of range; each as one sentence.
    """
    file = _config_file(config_file)
    problems = _unknown_variables()
    if problems:
        raise SettingsError(problems)
    given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    if file is not None:
        given[_FILE_KEY] = file
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError(
            tuple(_sentence(fault["loc"], fault["msg"], fault["type"]) for fault in error.errors())
        ) from None
    except (OSError, ValueError) as error:  # an unreadable or malformed file, or a variable that is not JSON
        raise SettingsError((f"The settings cannot be read: {error}.",)) from error


def prepare_process_environment() -> None:
    """Bound the native libraries' own thread pools and heaps; call before numpy or an engine is imported.

    Inference has one bounded pool of ours; a library that starts a thread per core under each of those threads
    makes every latency worse (docs: embedded engines). Values the operator set are kept.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if "MALLOC_ARENA_MAX" not in os.environ:
        share_heaps()


def plain_output_wanted() -> bool:
    """Whether the user asked for no colour (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def _config_file(given: Path | None) -> Path | None:
    named = given or (Path(value) if (value := os.environ.get(CONFIG_FILE_VARIABLE)) else None)
    if named is None:
        return DEFAULT_CONFIG_FILE if DEFAULT_CONFIG_FILE.is_file() else None
    if not named.is_file():
        raise SettingsError((f"The settings file {named} does not exist.",))
    return named


def _unknown_variables() -> tuple[str, ...]:
    known = {name.upper() for name in Settings.model_fields}
    return tuple(
        f"The environment variable {name} is not a setting; is it misspelt?"
        for name in sorted(os.environ)
        if name.startswith(ENV_PREFIX)
        and name != CONFIG_FILE_VARIABLE
        and name.removeprefix(ENV_PREFIX).split("__")[0] not in known
    )


def _sentence(location: tuple[int | str, ...], message: str, kind: str) -> str:
    name = ".".join(str(part) for part in location).removesuffix(".[key]")
    if kind == "extra_forbidden":
        return f"There is no setting called {name}."
    text = message.removeprefix("Value error, ")
    if name and not text.startswith(f"{name}."):
        text = f"{name}: {text[0].lower()}{text[1:]}"
    return f"{text}."
