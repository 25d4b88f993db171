"""The settings' section about language models: who answers, who steps in, and how long a caller waits; see
``server.settings``.

An Azure OpenAI deployment may be named in two ways: plainly (``engine = "azure"``), or as an OpenAI-compatible address
with an ``azure_api_version``. Knows no model; read by ``server.model_choice``.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from server.setting_types import Directory, Section

EMBEDDED: Final = "embedded"


class ModelPlace(Section):
    """Where a model answers, and who asks it.

    ``endpoint`` and ``deployment`` are of an Azure OpenAI resource; it is asked with ``api_key`` or with
    ``managed_identity`` (``client_id`` names a user-assigned one), through its v1 surface unless an
    ``azure_api_version`` is named.
    ``base_url`` and ``model`` are of any OpenAI-compatible endpoint.
    """

    base_url: str | None = None
    model: str | None = None
    endpoint: str | None = None
    deployment: str | None = None
    api_key: SecretStr | None = None
    managed_identity: bool = False
    client_id: str | None = None
    azure_api_version: str | None = Field(default=None, pattern=r"^[\w.-]{1,40}$")
    context_tokens: int = Field(default=8_192, ge=512, le=2_000_000)

    def problem(self, *, azure: bool) -> str | None:
        """Why this names no model, as the end of a sentence that begins with the section's name and a dot."""
        for name, address in (("base_url", self.base_url), ("endpoint", self.endpoint)):
            if address is not None and not address.startswith(("https://", "http://")):
                return f"{name} must start with https:// or http://"
        if self.api_key is not None and self.managed_identity:
            return "api_key and managed_identity exclude each other"
        return self._azure_problem() if azure else self._openai_problem()

    def _azure_problem(self) -> str | None:
        if not self.address:
            return "endpoint must say where the Azure OpenAI resource is (https://NAME.openai.azure.com)"
        if not self.name:
            return "deployment must name the deployment that should answer"
        if self.api_key is None and not self.managed_identity:
            return "api_key must hold the resource's key, or managed_identity be true"
        return None

    def _openai_problem(self) -> str | None:
        if self.endpoint or self.deployment or self.managed_identity:
            return 'endpoint, deployment and managed_identity are Azure\'s: set engine to "azure"'
        if not self.model:
            return "model must name the model (or the Azure deployment) the endpoint should answer with"
        if self.azure_api_version and self.base_url is None:
            return "azure_api_version needs base_url, the Azure OpenAI endpoint"
        if self.base_url is None and self.api_key is None:
            return "base_url or api_key must be given, since engine is openai"
        return None

    @property
    def address(self) -> str | None:
        """Where it is, however it was named."""
        return self.endpoint or self.base_url

    @property
    def name(self) -> str:
        """The deployment or model there."""
        return self.deployment or self.model or ""


class FallbackSettings(ModelPlace):
    """A model that steps in. Fields as for the model itself; ``same`` is another ``model`` at the same address."""

    engine: Literal["openai", "azure", "same", "embedded"] = "openai"

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return {"engine": EMBEDDED} if value == EMBEDDED else {"engine": "same", "model": value}

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        problem = self.problem(azure=self.engine == "azure") if self.engine in ("openai", "azure") else None
        if self.engine == "same" and not self.model:
            problem = "model must name the other model (or deployment) at the same address"
        if problem is not None:
            raise ValueError(problem)
        return self


def _stand_ins(value: object) -> object:
    """``embedded``, ``none``, or names separated by commas; JSON where there is more to say."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return cast("list[Any]", json.loads(value))
    names = [part.strip() for part in value.split(",") if part.strip()]
    return [] if names == ["none"] else names


StandIns = Annotated[tuple[FallbackSettings, ...], NoDecode, BeforeValidator(_stand_ins)]


class ModelSettings(ModelPlace):
    """The language model. ``auto`` takes the endpoint where one is named (an ``endpoint`` is Azure's), else the
    embedded model.

    ``fallback`` are the models asked instead, in order: a name is another deployment (or model) at the same address,
    ``embedded`` is the model that comes with the server, a table is any other. ``takeover_s`` is how long a caller
    waits before the next of them is asked; ``connect_s``, ``first_event_s`` and ``gap_s`` bound a connection, the
    first piece of an answer and each further one.
    """

    engine: Literal["auto", "embedded", "openai", "azure", "none"] = "auto"
    model_path: Directory | None = None
    fallback: StandIns = (FallbackSettings(engine="embedded"),)
    takeover_s: float = Field(default=1.5, ge=0.1, le=10)
    connect_s: float = Field(default=3.0, ge=0.1, le=10)
    # The conversation itself waits no longer than agents.core.options.StageLimits says.
    first_event_s: float = Field(default=8.0, ge=0.1, le=12)
    gap_s: float = Field(default=6.0, ge=0.1, le=8)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == "openai":
            problem = self.problem(azure=self.is_azure)
            if problem is not None:
                raise ValueError(f"model.{problem}")
        elif self.name and self.engine == "auto":
            raise ValueError("model.model is an endpoint's model, so model.base_url or model.api_key must be given")
        return self

    @property
    def kind(self) -> Literal["embedded", "openai", "none"]:
        """What ``auto`` means here: the embedded model, or an endpoint that speaks OpenAI's language, as Azure does."""
        if self.engine == "azure":
            return "openai"
        if self.engine != "auto":
            return self.engine
        return "openai" if self.address or self.api_key else "embedded"

    @property
    def is_azure(self) -> bool:
        """Whether an Azure OpenAI resource is plainly named."""
        return self.engine == "azure" or (self.engine == "auto" and self.endpoint is not None)

    @property
    def stand_ins(self) -> tuple[FallbackSettings, ...]:
        """The fallback with every name spelled out; empty where no endpoint answers."""
        if self.kind != "openai":
            return ()
        return tuple(self._spelled(entry) for entry in self.fallback)

    def _spelled(self, entry: FallbackSettings) -> FallbackSettings:
        if entry.engine != "same":
            return entry
        here: dict[str, Any] = {name: getattr(self, name) for name in ModelPlace.model_fields}
        here |= {"model": entry.model, "deployment": None, "engine": "azure" if self.is_azure else "openai"}
        return FallbackSettings(**here)
