"""Which language models this server has, from its settings: who answers, and who steps in.

The one place that knows the model adapters' constructors. A stand-in that cannot be had is left out, and said in the
log. Driven by ``server.engines``.
"""

from __future__ import annotations

import logging

from agents.errors import ModelError, ModelUnavailable
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.port import LanguageModel
from server.azure_tokens import managed_identity_tokens
from server.model_settings import FallbackSettings, ModelPlace, ModelSettings

logger = logging.getLogger(__name__)


async def build_model(settings: ModelSettings) -> LanguageModel:
    """The language model the settings name, with its stand-ins, not yet warm. Raises ModelError."""
    match settings.kind:
        case "none":
            raise ModelUnavailable("Switched off in the settings (model.engine).", provider="none")
        case "embedded":
            return _embedded(settings)
        case "openai":
            models = [GuardedModel(_endpoint(settings, settings, azure=settings.is_azure))]
            for chosen in settings.stand_ins:
                try:
                    models.append(GuardedModel(_stand_in(settings, chosen)))
                except ModelError as error:
                    logger.warning("a language model cannot step in", extra={"reason": str(error)})
            return FallbackModel(models, takeover_s=settings.takeover_s)


def why_degraded(model: LanguageModel) -> str | None:
    """Why not all is well after warming up: the preferred model's error, and who answers for it; ``None`` if it is."""
    if not isinstance(model, FallbackModel):
        return None
    preferred, *others = model.models
    error = preferred.breaker.last_error
    instead = next((other.name for other in others if other.breaker.last_error is None), None)
    if error is None or instead is None:
        return None
    return f"{instead} steps in. {error}"


def _stand_in(settings: ModelSettings, chosen: FallbackSettings) -> LanguageModel:
    if chosen.engine == "embedded":
        return _embedded(settings)
    return _endpoint(settings, chosen, azure=chosen.engine == "azure")


def _embedded(settings: ModelSettings) -> LanguageModel:
    from agents.models.embedded_llama import EmbeddedLlama, EmbeddedLlamaConfig  # noqa: PLC0415 - only where wanted

    return EmbeddedLlama(EmbeddedLlamaConfig(model_path=settings.model_path))


def _endpoint(settings: ModelSettings, place: ModelPlace, *, azure: bool) -> LanguageModel:
    """``settings`` has the limits, which are the same for all."""
    from agents.models.openai_client import OpenAICompatibleConfig  # noqa: PLC0415
    from agents.models.openai_compatible import OpenAICompatibleModel  # noqa: PLC0415 - the SDK is slow to import

    config = OpenAICompatibleConfig(
        place.name,
        place.address,
        "none" if place.api_key is None else place.api_key.get_secret_value(),
        kind="azure" if azure or place.azure_api_version else "openai",
        api_version=place.azure_api_version,
        token=managed_identity_tokens(place.client_id) if place.managed_identity else None,
        context_tokens=place.context_tokens,
        connect_s=settings.connect_s,
        first_event_s=settings.first_event_s,
        gap_s=settings.gap_s,
    )
    return OpenAICompatibleModel(config)
