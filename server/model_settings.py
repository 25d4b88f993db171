"""The settings' section about the language model; see ``server.settings``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from server.setting_types import Directory, Section


class ModelSettings(Section):
    """The language model. ``auto`` takes the endpoint where one is named, else the embedded model."""

    engine: Literal["auto", "embedded", "openai", "none"] = "auto"
    model_path: Directory | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None
    model: str | None = None
    azure_api_version: str | None = None
    context_tokens: int = Field(default=8_192, ge=512, le=2_000_000)

    @model_validator(mode="after")
    def _endpoint_is_whole(self) -> Self:
        if self.kind != "openai":
            if self.model and self.engine == "auto":
                raise ValueError("model.model is an endpoint's model, so model.base_url or model.api_key must be given")
            return self
        if not self.model:
            raise ValueError(
                "model.model must name the model (or the Azure deployment) the endpoint should answer with"
            )
        if self.base_url is not None and not self.base_url.startswith(("https://", "http://")):
            raise ValueError("model.base_url must start with https:// or http://")
        if self.base_url is None and self.api_key is None:
            raise ValueError("model.engine is openai, so model.base_url or model.api_key must be given")
        if self.azure_api_version and self.base_url is None:
            raise ValueError("model.azure_api_version needs model.base_url, the Azure OpenAI endpoint")
        return self

    @property
    def kind(self) -> Literal["embedded", "openai", "none"]:
        """What ``auto`` means here."""
        if self.engine != "auto":
            return self.engine
        return "openai" if self.base_url or self.api_key else "embedded"
