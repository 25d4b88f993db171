"""What a Voice Live client may write into ``session.update`` and ``response.create``: shapes and limits.

Pydantic models only; what they mean is in ``voice_live_config``, what is not to be had in ``voice_live_warnings``.
Reference: the models of Microsoft's ``azure-ai-voicelive`` client (1.3.1), which name every field.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from server.wire.realtime.config_parts import Instructions, MaxOutputTokens, Part, Temperature, ToolChoiceField, Tools

Name = Annotated[str, Field(min_length=1, max_length=128)]
Url = Annotated[str, Field(max_length=2_048)]
_LOCALE: Final = r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*"
Locale = Annotated[str, Field(pattern=rf"^{_LOCALE}$")]
Languages = Annotated[str, Field(max_length=256, pattern=rf"^{_LOCALE}(\s*,\s*{_LOCALE})*$")]
"""One language, or several separated by commas."""
Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]

# --- voices ---

RATES: Final = {"x-slow": 0.5, "slow": 0.64, "medium": 1.0, "default": 1.0, "fast": 1.55, "x-fast": 2.0}
"""SSML's names for the pace of a voice."""
_RATE: Final = rf"^({'|'.join(RATES)}|[+-]?\d{{1,3}}(\.\d+)?%|\d{{1,2}}(\.\d+)?)$"
Rate = Annotated[str, Field(max_length=16, pattern=_RATE)]
Prosody = Annotated[str, Field(max_length=32)]


class AzureVoice(Part):
    """What all Azure voices can be told."""

    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    custom_lexicon_url: Url | None = None
    custom_text_normalization_url: Url | None = None
    prefer_locales: Annotated[tuple[Locale, ...], Field(strict=False, max_length=32)] | None = None
    locale: Locale | None = None
    style: Prosody | None = None
    pitch: Prosody | None = None
    rate: Rate | None = None
    volume: Prosody | None = None


class StandardVoice(AzureVoice):
    """A voice by its name."""

    type: Literal["azure-standard"]
    name: Name


class CustomVoice(AzureVoice):
    """A voice of the customer's own."""

    type: Literal["azure-custom"]
    name: Name
    endpoint_id: Name


class PersonalVoice(AzureVoice):
    """Somebody's own voice."""

    type: Literal["azure-personal"]
    name: Name
    model: Name


class AvatarVoice(AzureVoice):
    """The voice that belongs to an avatar."""

    type: Literal["avatar-voice-sync"]
    model: Name


class NamedVoice(Part):
    """A voice of a model's."""

    type: Literal["openai", "azure-realtime-native"]
    name: Name


def _kind_of_voice(value: Any) -> str | None:
    if isinstance(value, str):
        return "str"
    kind: Any = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)  # pyright: ignore
    if not isinstance(kind, str):
        return None
    return "named" if kind in {"openai", "azure-realtime-native"} else kind


AnyVoice = StandardVoice | CustomVoice | PersonalVoice | AvatarVoice | NamedVoice
VoiceField = Annotated[
    Annotated[Name, Tag("str")]
    | Annotated[StandardVoice, Tag("azure-standard")]
    | Annotated[CustomVoice, Tag("azure-custom")]
    | Annotated[PersonalVoice, Tag("azure-personal")]
    | Annotated[AvatarVoice, Tag("avatar-voice-sync")]
    | Annotated[NamedVoice, Tag("named")],
    Discriminator(
        _kind_of_voice,
        custom_error_type="unknown_voice_type",
        custom_error_message="Expected the name of a voice, or an object whose 'type' is 'azure-standard', "
        "'azure-custom', 'azure-personal', 'avatar-voice-sync', 'azure-realtime-native' or 'openai'",
    ),
]

# --- turn detection ---

Milliseconds = Annotated[int, Field(ge=0, le=10_000)]


class EndOfUtterance(Part):
    """How it is told that the user has finished."""

    model: Literal["semantic_detection_v1", "semantic_detection_v1_en", "semantic_detection_v1_multilingual"]
    threshold_level: Literal["low", "medium", "high", "default"] | None = None
    timeout_ms: Milliseconds | None = None


class Vad(Part):
    """What all kinds of turn detection have."""

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    prefix_padding_ms: Milliseconds | None = None
    silence_duration_ms: Milliseconds | None = None
    end_of_utterance_detection: EndOfUtterance | None = None
    auto_truncate: bool | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class ServerVad(Vad):
    """The end of a turn by silence."""

    type: Literal["server_vad"]


class SemanticVadEn(Vad):
    """The end of a turn by what was said, too: in English."""

    type: Literal["azure_semantic_vad_en"]
    speech_duration_ms: Milliseconds | None = None
    remove_filler_words: bool | None = None


class SemanticVad(Vad):
    """The end of a turn by what was said, too."""

    type: Literal["azure_semantic_vad", "azure_semantic_vad_multilingual"]
    speech_duration_ms: Milliseconds | None = None
    remove_filler_words: bool | None = None
    languages: Annotated[tuple[Locale, ...], Field(strict=False, max_length=32)] | None = None


def _none_is_null(value: Any) -> Any:
    return None if value == {"type": "none"} else value


AnyVad = ServerVad | SemanticVad | SemanticVadEn
TurnDetectionField = Annotated[Annotated[AnyVad, Field(discriminator="type")] | None, BeforeValidator(_none_is_null)]

# --- hearing ---


class NoiseReduction(Part):
    """Noise taken out before recognition."""

    type: Literal["azure_deep_noise_suppression", "near_field", "far_field"]


class EchoCancellation(Part):
    """The agent's own voice taken out of the microphone's."""

    type: Literal["server_echo_cancellation"] = "server_echo_cancellation"
    reference_source: Literal["server", "client"] | None = None
    channels: Literal[1] | None = None


Phrase = Annotated[str, Field(max_length=256)]


class Transcription(Part):
    """Whether and how the user's words are told. The engine is the server's; its name is taken as given."""

    model: Name
    language: Languages | None = None
    custom_speech: dict[str, str] | None = None
    phrase_list: Annotated[tuple[Phrase, ...], Field(strict=False, max_length=500)] | None = None


# --- the rest ---

MODALITIES: Final = ("text", "audio", "animation", "avatar")


def _require_words(modalities: tuple[str, ...]) -> tuple[str, ...]:
    if not {"text", "audio"} & set(modalities):
        raise ValueError("Expected 'text', 'audio' or both among the modalities")
    return modalities


Modalities = Annotated[
    tuple[Literal["text", "audio", "animation", "avatar"], ...],
    Field(strict=False, min_length=1, max_length=4),
    AfterValidator(_require_words),
]
InputFormat = Literal["pcm16", "g711_ulaw", "g711_alaw"]
OutputFormat = Annotated[
    Literal["pcm16", "pcm16_8000hz", "pcm16_16000hz", "g711_ulaw", "g711_alaw"],
    BeforeValidator(lambda value: value.replace("-", "_") if isinstance(value, str) else value),  # pyright: ignore
]
"""``pcm16-8000hz`` and ``pcm16-16000hz`` were their names once."""


class Animation(Part):
    """What a face needs."""

    model_name: Name | None = None
    outputs: Annotated[tuple[Literal["viseme_id", "blendshapes"], ...], Field(strict=False)] | None = None


class Avatar(Part):
    """A face."""

    type: Literal["video-avatar", "photo-avatar"] | None = None
    ice_servers: Any = None
    character: Name
    style: str | None = None
    model: str | None = None
    customized: bool
    video: Any = None
    scene: Any = None
    output_protocol: Literal["webrtc", "websocket"] | None = None
    output_audit_audio: bool | None = None


Sentence = Annotated[str, Field(min_length=1, max_length=500)]


class _Interim(Part):
    triggers: Annotated[tuple[Literal["latency", "tool"], ...], Field(strict=False, max_length=2)] | None = None
    latency_threshold_ms: Annotated[int, Field(ge=0, le=60_000)] = 2_000


class StaticInterim(_Interim):
    """Sentences to choose from while the answer takes long."""

    type: Literal["static_interim_response"]
    texts: Annotated[tuple[Sentence, ...], Field(strict=False, max_length=32)] | None = None


class LlmInterim(_Interim):
    """A sentence of a model's while the answer takes long."""

    type: Literal["llm_interim_response"]
    model: Name | None = None
    instructions: Instructions | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


AnyInterim = StaticInterim | LlmInterim
InterimField = Annotated[AnyInterim, Field(discriminator="type")]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
Include = Literal[
    "item.input_audio_transcription.logprobs", "item.input_audio_transcription.phrases", "file_search_call.results"
]


def _flat_choice(value: Any) -> Any:
    """The older form of a named tool, ``{"type": "function", "function": {"name": ...}}``, as the newer."""
    match value:
        case {"type": "function", "function": {"name": str(name)}}:
            return {"type": "function", "name": name}
        case _:
            return value


Choice = Annotated[ToolChoiceField, BeforeValidator(_flat_choice)]


class Session(Part):
    """A session, flat. ``id``, ``expires_at`` and ``agent`` are the server's; a client only sends them back."""

    id: str | None = None
    expires_at: int | None = None
    agent: Any = None
    model: Name | None = None
    modalities: Modalities | None = None
    animation: Animation | None = None
    voice: VoiceField | None = None
    instructions: Instructions | None = None
    input_audio_sampling_rate: Literal[8_000, 16_000, 24_000] | None = None
    input_audio_format: InputFormat | None = None
    output_audio_format: OutputFormat | None = None
    turn_detection: TurnDetectionField = None
    input_audio_noise_reduction: NoiseReduction | None = None
    input_audio_echo_cancellation: EchoCancellation | None = None
    avatar: Avatar | None = None
    input_audio_transcription: Transcription | None = None
    output_audio_timestamp_types: Annotated[tuple[Literal["word"], ...], Field(strict=False)] | None = None
    tools: Tools | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    temperature: Temperature | None = None
    max_response_output_tokens: MaxOutputTokens | None = None
    reasoning_effort: Effort | None = None
    interim_response: InterimField | None = None
    include: Annotated[tuple[Include, ...], Field(strict=False)] | None = None
    metadata: Metadata | None = None


class Reply(Part):
    """One reply's own way: ``response.create``."""

    commit: bool | None = None
    cancel_previous: bool | None = None
    input_items: Annotated[tuple[dict[str, Any], ...], Field(strict=False, max_length=500)] | None = None
    modalities: Modalities | None = None
    instructions: Instructions | None = None
    additional_instructions: Instructions | None = None
    voice: VoiceField | None = None
    output_audio_format: OutputFormat | None = None
    tools: Tools | None = None
    tool_choice: Choice | None = None
    temperature: Temperature | None = None
    max_output_tokens: MaxOutputTokens | None = None
    reasoning_effort: Effort | None = None
    metadata: Metadata | None = None
    interim_response: InterimField | None = None
