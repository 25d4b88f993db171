"""What a voice session is asked to be: the settings of ``voice.start``, and the part ``voice.update`` may change.

Values only; which engines carry them out is the composition root's business. Every field has a default, so
``{"type": "voice.start"}`` alone begins a conversation.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from audio.formats import AudioFormat, Encoding, rates_for
from metering.usage import Mode
from server.contracts.base import AgentId, Contract, Locale
from server.contracts.latency_budget import LatencyBudgetSettings

Codec = Encoding
SampleRate = Literal[8_000, 16_000, 24_000, 48_000]
Eagerness = Literal["low", "auto", "high"]
Modality = Literal["audio", "text"]
Patience = Literal["normal", "patient", "very_patient", "never"]

_DEFAULT_INPUT_RATE_HZ = 16_000
_DEFAULT_OUTPUT_RATE_HZ = 24_000


def _rate_or_default(codec: Encoding, sample_rate: int | None, pcm_default_hz: int) -> int:
    if sample_rate is not None:
        return sample_rate
    return pcm_default_hz if codec is Encoding.PCM16 else rates_for(codec)[0]


class TurnDetectionFields(Contract):
    """How the server hears speech and decides whose turn it is. Times in milliseconds."""

    type: Literal["auto", "push_to_talk"] = "auto"
    """`auto`: the server finds the end of a turn. `push_to_talk`: only `voice.commit` ends it."""
    threshold: Annotated[float, Field(ge=0.2, le=0.95)] = 0.5
    """Speech probability (0-1) that counts as speech. Raise it in noisy places."""
    min_speech_ms: Annotated[int, Field(ge=0, le=1_000)] = 96
    """Speech shorter than this is not speech."""
    min_silence_ms: Annotated[int, Field(ge=32, le=2_000)] = 96
    """Silence after which speech has paused (`vad.speech_stopped`). A pause is not yet the end of a turn."""
    prefix_padding_ms: Annotated[int, Field(ge=0, le=1_000)] = 300
    """Audio kept from before the first speech sample, so no first syllable is lost."""
    min_wait_ms: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Silence that ends a turn which sounds complete. Absent: as `accessibility.patience` has it."""
    max_wait_ms: Annotated[int, Field(ge=100, le=60_000)] | None = None
    """Silence that ends any turn. Absent: as `accessibility.patience` has it."""
    eagerness: Eagerness = "auto"
    """How soon between the two waits the agent answers."""
    interruptible: bool = True
    """Whether the user's speech stops the agent's."""
    interrupt_after_ms: Annotated[int, Field(ge=0, le=2_000)] = 140
    """Speech over the agent's that holds its voice. A shorter sound does not; "mhm" holds it for a moment."""
    finish_clause_ms: Annotated[int, Field(ge=0, le=5_000)] = 0
    """How long the agent may take to finish its clause before an interruption stops it. 0: it stops at once."""


class TurnDetection(TurnDetectionFields):
    """Turn detection of a session, whole."""

    @model_validator(mode="after")
    def _waits_in_order(self) -> Self:
        if self.min_wait_ms is not None and self.max_wait_ms is not None and self.min_wait_ms > self.max_wait_ms:
            raise ValueError("min_wait_ms must not be greater than max_wait_ms")
        return self


class OutputFields(Contract):
    """How the agent answers: what may change during a session."""

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1, max_length=2)] = ("audio", "text")
    """`audio`: the agent speaks. `text`: its words come as `chat.token`. Without `audio` nothing is synthesized."""
    voice: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """A voice of the speech engine. Absent: the agent's own."""
    rate: Annotated[float, Field(ge=0.5, le=2.0)] = 1.0
    """Speaking rate; 1.0 is the voice's own pace."""
    captions: bool = True
    """Whether `caption` messages are sent."""
    visemes: bool = False
    """Whether `voice.visemes` messages are sent, where the voice tells its mouth shapes."""


class Output(OutputFields):
    """The output of a session, whole: its format is fixed when it starts."""

    codec: Codec = Encoding.PCM16
    """How the agent's audio travels."""
    sample_rate: SampleRate | None = None
    """In Hz. Absent: 24000 for `pcm16`, 8000 for G.711, 48000 for `opus`."""

    @property
    def format(self) -> AudioFormat:
        """Encoding and rate of the agent's audio."""
        rate_hz = _rate_or_default(self.codec, self.sample_rate, _DEFAULT_OUTPUT_RATE_HZ)
        return AudioFormat(self.codec, rate_hz)

    @model_validator(mode="after")
    def _format_exists(self) -> Self:
        _ = self.format
        return self


class Accessibility(Contract):
    """What the user needs so that the conversation works for them."""

    patience: Patience = "normal"
    """How long the agent waits for a speaker who pauses. `never`: it never ends the user's turn by itself."""
    captions: bool = False
    """Captions are needed, not only wished for: they are sent whatever `output.captions` says."""
    simple_language: bool = False
    """The agent answers in short, plain sentences."""


class VoiceSettings(Contract):
    """A voice session, whole."""

    codec: Codec = Encoding.PCM16
    """How the user's audio travels. `pcm16` is 16-bit signed little-endian mono."""
    sample_rate: SampleRate | None = None
    """In Hz. Absent: 16000 for `pcm16`, 8000 for G.711, 48000 for `opus`."""
    mode: Mode | None = None
    """Whose provider keys are used. Absent: the tenant's default lane."""
    agent_id: AgentId | None = None
    """Who answers. Absent: the server's default agent."""
    locale: Locale = "en-US"
    """The language spoken, as a BCP 47 tag."""
    turn_detection: TurnDetection = TurnDetection()
    """How the server hears speech and decides whose turn it is."""
    output: Output = Output()
    """How the agent answers."""
    accessibility: Accessibility = Accessibility()
    """What the user needs."""
    latency_budget: LatencyBudgetSettings | None = None
    """How long turns may take. Absent: as the operator has it, which `GET /v1/latency-budgets` tells."""
    binary: bool = False
    """Audio travels as bare binary frames in both directions, instead of base64 inside JSON."""

    @property
    def input_format(self) -> AudioFormat:
        """Encoding and rate of the user's audio."""
        return AudioFormat(self.codec, _rate_or_default(self.codec, self.sample_rate, _DEFAULT_INPUT_RATE_HZ))

    @property
    def sends_captions(self) -> bool:
        """Whether ``caption`` messages are wanted."""
        return self.output.captions or self.accessibility.captions

    @model_validator(mode="after")
    def _format_exists(self) -> Self:
        _ = self.input_format
        return self
