"""The pieces of a session in OpenAI's GA dialect, as models. Values only; ``ga_config`` owns the whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from server.wire.realtime.config_parts import Instructions, MaxOutputTokens, Part, ToolChoiceField, Tools
from server.wire.realtime.ga_accepted import IncludeField, Prompt, Reasoning, TracingField, TruncationField


def _one_of_two(given: tuple[str, ...]) -> tuple[str, ...]:
    if len(given) != 1:
        raise ValueError("supported are ['text'] and ['audio'] (which brings its transcript)")
    return given


Modalities = Annotated[
    tuple[Literal["audio", "text"], ...], Field(max_length=4, strict=False), AfterValidator(_one_of_two)
]


class Pcm(Part):
    """Little-endian 16-bit PCM."""

    type: Literal["audio/pcm"]
    rate: Literal[24_000] = 24_000


class Ulaw(Part):
    """G.711 mu-law."""

    type: Literal["audio/pcmu"]


class Alaw(Part):
    """G.711 A-law."""

    type: Literal["audio/pcma"]


Format = Annotated[Pcm | Ulaw | Alaw, Field(discriminator="type")]


class ServerVad(Part):
    """The end of a turn by silence."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5_000)] | None = None
    silence_duration_ms: Annotated[int, Field(ge=0, le=10_000)] | None = None
    idle_timeout_ms: Annotated[int, Field(ge=5_000, le=30_000)] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class SemanticVad(Part):
    """The end of a turn by what was said, too."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


class NoiseReduction(Part):
    """Accepted; no noise reduction is done before recognition."""

    type: Literal["near_field", "far_field"]
    strength: float | None = None


class Transcription(Part):
    """Whether and how the user's words are told. The engine is the server's; its name is taken as given."""

    model: Annotated[str, Field(max_length=128)] | None = None
    language: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")] | None = None
    languages: Annotated[tuple[str, ...], Field(strict=False, max_length=16)] | None = None
    prompt: Annotated[str, Field(max_length=8_000)] | None = None
    keywords: Annotated[tuple[str, ...], Field(strict=False, max_length=500)] | None = None
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class Input(Part):
    """What is heard."""

    format: Format | None = None
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = None
    turn_detection: Annotated[ServerVad | SemanticVad, Field(discriminator="type")] | None = None


class VoiceId(Part):
    """A voice by its id."""

    id: str


class OutputAudio(Part):
    """What is said."""

    format: Format | None = None
    voice: Annotated[str, Field(min_length=1, max_length=128)] | VoiceId | None = None
    speed: Annotated[float, Field(ge=0.25, le=1.5)] | None = None


class Audio(Part):
    """Both directions."""

    input: Input | None = None
    output: OutputAudio | None = None


class Session(Part):
    """A conversation, or a transcription session (which takes ``audio.input`` and ``include`` only)."""

    type: Literal["realtime", "transcription"]
    id: str | None = None
    object: str | None = None
    expires_at: int | None = None
    model: Annotated[str, Field(max_length=128)] | None = None
    instructions: Instructions | None = None
    output_modalities: Modalities | None = None
    audio: Audio | None = None
    tools: Tools | None = None
    tool_choice: ToolChoiceField | None = None
    max_output_tokens: MaxOutputTokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    truncation: TruncationField | None = None
    tracing: TracingField | None = None
    prompt: Prompt | None = None
    include: IncludeField | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None


class ReplyParams(Part):
    """One reply's own way: ``response.create``."""

    conversation: str | None = None
    input: Annotated[tuple[dict[str, Any], ...], Field(strict=False, max_length=500)] | None = None
    instructions: Instructions | None = None
    output_modalities: Modalities | None = None
    audio: Audio | None = None
    tools: Tools | None = None
    tool_choice: ToolChoiceField | None = None
    max_output_tokens: MaxOutputTokens | None = None
    metadata: dict[str, Annotated[str, Field(max_length=512)]] | None = None
    prompt: Prompt | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
