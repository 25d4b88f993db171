"""The text-to-speech port: a phrase in, audio out as it is made.

One ``TextToSpeech`` per process and engine, shared by all sessions and bounded inside. The caller splits text into
phrases and decides their order; the engine only speaks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from audio.fallback import Maker
from audio.formats import Samples
from audio.stt.port import WordTiming


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One phrase to speak.

    ``text`` is plain text (never markup); ``rate`` is 0.5-2.0, 1.0 being the voice's own pace; ``voice`` is ``None``
    for the engine's default; ``urgent`` marks the first phrase of a turn, which overtakes later ones in a queue.
    """

    text: str
    locale: str = "en-US"
    voice: str | None = None
    rate: float = 1.0
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Viseme:
    """A mouth shape from a sample of the phrase on; ``shape`` is the engine's own number for it."""

    shape: int
    start_sample: int


@dataclass(frozen=True, slots=True)
class SpeechAudio:
    """A stretch of a phrase's audio, in order.

    ``words`` and ``visemes`` are timed from the start of the phrase, each given once and in order, where known.
    ``maker`` is who made it, where that may be another engine than the one that was asked.
    """

    samples: Samples
    sample_rate_hz: int
    words: tuple[WordTiming, ...] = ()
    visemes: tuple[Viseme, ...] = ()
    maker: Maker | None = None


@dataclass(frozen=True, slots=True)
class TtsProfile:
    """What an engine is and can do, as data."""

    provider: str
    model: str
    sample_rate_hz: int
    voices: tuple[str, ...] = ()
    locales: frozenset[str] = field(default_factory=frozenset[str])
    streaming: bool = False
    word_timings: bool = False
    visemes: bool = False
    """Whether it tells mouth shapes."""
    text_streaming: bool = False
    """Whether the engine is a ``TextStreamingSpeech`` too."""
    text_held: bool = False
    """Whether its streams may keep words back until they have a sentence; a phrase is spoken at once."""


class TextToSpeech(Protocol):
    """An engine, shared by all sessions."""

    @property
    def profile(self) -> TtsProfile: ...

    async def warm_up(self) -> None:
        """Load and speak once, silently. Raises EngineUnavailable."""
        ...

    def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        """The phrase's audio, in order. Text without anything to say yields nothing.

        Close the generator (``aclosing``) to stop: work not yet started is dropped. Raises EngineError.
        """
        ...

    async def aclose(self) -> None:
        """Release the engine."""
        ...


class TextStream(Protocol):
    """Speech of text that is still being written. One caller writes, one takes ``audio``."""

    async def write(self, text: str) -> None:
        """The next text, of any length; spoken as soon as the engine dares. Raises EngineError."""
        ...

    async def finish(self) -> None:
        """No more text follows. Raises EngineError."""
        ...

    def audio(self) -> AsyncGenerator[SpeechAudio]:
        """Everything that is spoken, once. Close it to stop. Raises EngineError."""
        ...

    async def aclose(self) -> None:
        """Stop, if it has not ended by itself."""
        ...


class TextStreamingSpeech(TextToSpeech, Protocol):
    """An engine that begins to speak before the sentence is complete."""

    async def open_text(self, request: SpeechRequest) -> TextStream:
        """A stream spoken as ``request`` says; its ``text`` is the first of it. Raises EngineError."""
        ...
