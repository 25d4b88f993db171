"""The settings of tracing: whether spans are sent, where, and how many.

OpenTelemetry's own ``OTEL_*`` variables are taken as defaults of these settings (``standard_telemetry``), explicitly
and here alone; the exporter is never left to read the environment. A section of ``server.settings``, which knows the
environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr, field_validator

from server.setting_types import Section

TRACES_PATH: Final = "/v1/traces"
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"


class TelemetrySettings(Section):
    """Tracing over OTLP/HTTP (extra ``telemetry``). Off, nothing of OpenTelemetry is imported.

    ``endpoint`` is the full address that spans are posted to. ``headers`` (``name=value``, comma-separated) are secret:
    they often carry a key. ``sample_ratio`` is the share of conversations that is traced where the client does not
    decide; ``max_queue`` bounds the spans that wait to be sent, beyond which they are dropped and counted.
    """

    enabled: bool = False
    endpoint: str = f"http://localhost:4318{TRACES_PATH}"
    headers: SecretStr = SecretStr("")
    certificate: Path | None = None
    compression: Literal["none", "gzip"] = "none"
    timeout_s: float = Field(default=10.0, ge=0.1, le=60)
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    max_queue: int = Field(default=4_096, ge=512, le=65_536)
    schedule_delay_s: float = Field(default=2.0, ge=0.05, le=60)
    service_name: str = Field(default="convergio-voice", min_length=1, max_length=128)
    resource_attributes: str = Field(default="", max_length=2_048)

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError("telemetry.endpoint must start with https:// or http:// (OTLP over gRPC is not spoken)")
        return value

    @field_validator("headers")
    @classmethod
    def _headers_are_pairs(cls, value: SecretStr) -> SecretStr:
        try:
            pairs(value.get_secret_value())
        except ValueError:
            raise ValueError("telemetry.headers must be name=value, with commas between") from None
        return value

    @field_validator("resource_attributes")
    @classmethod
    def _attributes_are_pairs(cls, value: str) -> str:
        pairs(value)
        return value

    @property
    def header_pairs(self) -> dict[str, str]:
        """The headers by name, in lower case. A secret."""
        return {name.lower(): value for name, value in pairs(self.headers.get_secret_value()).items()}


def pairs(text: str) -> dict[str, str]:
    """``a=1,b=2`` as OpenTelemetry writes it: W3C Baggage, values percent-encoded. Raises ValueError."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ValueError("must be name=value, with commas between")
        found[name.strip()] = unquote(value.strip())
    return found


def standard_telemetry(environment: Mapping[str, str]) -> dict[str, Any]:
    """What OpenTelemetry's own variables say, as the section ``telemetry``; empty where they say nothing.

    They never switch tracing on: clusters set them for every process. ``OTEL_SDK_DISABLED=true`` switches it off.
    """
    section: dict[str, Any] = {}
    if base := environment.get(_ENDPOINT):
        section["endpoint"] = base.rstrip("/") + TRACES_PATH
    for name, variables in _STANDARD.items():
        value = next((value for variable in variables if (value := environment.get(variable))), None)
        if value is not None:
            section[name] = value
    for name, variables in _STANDARD_MS.items():
        value = next((value for variable in variables if (value := environment.get(variable))), None)
        if value is not None:
            section[name] = _seconds(value)
    if environment.get("OTEL_TRACES_SAMPLER") in {"traceidratio", "parentbased_traceidratio"}:
        section["sample_ratio"] = environment.get("OTEL_TRACES_SAMPLER_ARG") or 1.0
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        section["enabled"] = False
    return {"telemetry": section} if section else {}


_STANDARD: Final[Mapping[str, tuple[str, ...]]] = {
    "endpoint": ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",),
    "headers": ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
    "certificate": ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    "compression": ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"),
    "max_queue": ("OTEL_BSP_MAX_QUEUE_SIZE",),
    "service_name": ("OTEL_SERVICE_NAME",),
    "resource_attributes": ("OTEL_RESOURCE_ATTRIBUTES",),
}


_STANDARD_MS: Final[Mapping[str, tuple[str, ...]]] = {
    "timeout_s": ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
    "schedule_delay_s": ("OTEL_BSP_SCHEDULE_DELAY",),
}
"""In milliseconds, as the specification has them."""


def _seconds(milliseconds: str) -> float | str:
    try:
        return float(milliseconds) / 1_000
    except ValueError:
        return milliseconds  # refused by the setting, in its words
