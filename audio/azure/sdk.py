"""The Speech SDK, imported where it is first needed, and configurations made with it.

Owns the optional import and the knobs that were found to matter (docs/decisions). Everything here may block and runs
on worker threads. The SDK has no type information: what comes out of it is ``Any`` here and in the two modules that
wrap its objects (``audio.stt.azure_recognizer``, ``audio.tts.azure_synthesizer``), and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from audio.azure.credentials import Secret
from audio.azure.errors import unavailable
from audio.azure.settings import AzurePlace, AzureSttSettings
from audio.errors import Stage

TICKS_PER_SECOND: Final = 10_000_000
"""The service counts in units of 100 ns."""

_PROFANITY: Final = {"masked": "Masked", "removed": "Removed", "raw": "Raw"}
_STRATEGY: Final = {"silence": "Time", "semantic": "Semantic"}


def quietly(call: Callable[[], object]) -> None:
    """A step of releasing something: the SDK refuses some of them in some states, and the rest must go on."""
    with suppress(RuntimeError):
        call()


def load_sdk(stage: Stage) -> Any:
    """The SDK's module. Raises EngineUnavailable where it is not installed."""
    try:
        import azure.cognitiveservices.speech as sdk  # noqa: PLC0415 - an optional extra
    except (ImportError, OSError) as error:
        raise unavailable("the SDK is not installed (extra: azure)", stage) from error
    return sdk


def speech_config(sdk: Any, place: AzurePlace, secret: Secret) -> Any:
    """A configuration for a place, with the secret in it and retries bounded."""
    key = secret.value if secret.kind == "key" else None
    if place.region is not None:
        config = (
            sdk.SpeechConfig(subscription=key, region=place.region)
            if key is not None
            else sdk.SpeechConfig(auth_token=secret.value, region=place.region)
        )
    else:
        named = {"host": place.host} if place.host is not None else {"endpoint": place.endpoint}
        config = sdk.SpeechConfig(**named, **({} if key is None else {"subscription": key}))
        if key is None:
            config.authorization_token = secret.value
    # Two attempts 260 ms apart in place of five: what lasts longer is for the standby and the fallback.
    config.set_property_by_name("SPEECH-Error-MaxRetryCount", "1")
    return config


def recognition_config(sdk: Any, settings: AzureSttSettings, secret: Secret) -> Any:
    """All of ``AzureSttSettings`` that goes into a configuration."""
    config = speech_config(sdk, settings.place, secret)
    ids = sdk.PropertyId
    config.speech_recognition_language = settings.locale
    config.output_format = sdk.OutputFormat.Detailed
    config.request_word_level_timestamps()
    config.set_profanity(getattr(sdk.ProfanityOption, _PROFANITY[settings.profanity]))
    if settings.dictation:
        config.enable_dictation()
    if settings.custom_endpoint_id is not None:
        config.endpoint_id = settings.custom_endpoint_id
    if settings.segmentation != "default":
        config.set_property(ids.Speech_SegmentationStrategy, _STRATEGY[settings.segmentation])
    if settings.segmentation == "silence":
        config.set_property(ids.Speech_SegmentationSilenceTimeoutMs, str(settings.segmentation_ms))
    if settings.stable_partials:
        config.set_property(ids.SpeechServiceResponse_StablePartialResultThreshold, str(settings.stable_partials))
    if settings.languages:
        config.set_property(ids.SpeechServiceConnection_LanguageIdMode, "Continuous")
    # 20 ms frames at the default polling interval (a shorter one spins); replays and flushes are not throttled.
    config.set_property_by_name("SPEECH-BytesPerFrame", "640")
    config.set_property_by_name("SPEECH-TransmitLengthBeforThrottleMs", "60000")
    config.set_property_by_name("SPEECH-AudioThrottleAsPercentageOfRealTime", "1000")
    config.set_property_by_name("SPEECH-StopRecognitionTimeoutInSeconds", str(max(1, round(settings.limits.stop_s))))
    return config
