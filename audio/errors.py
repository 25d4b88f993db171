"""What can go wrong with audio and its engines.

AudioError
├── AudioFormatError       the bytes are not what the format says
└── EngineError            an engine could not do its work (stage, provider, retryable)
    ├── EngineUnavailable  not installed, not loaded, not reachable
    │   └── EngineKeyRejected  the service refuses the credential
    ├── EngineTimeout      it did not answer within its limit
    └── EngineOverloaded   its bounded queue is full
"""

from __future__ import annotations

from typing import ClassVar, Literal

Stage = Literal["vad", "endpoint", "stt", "tts"]


class AudioError(Exception):
    """Base of everything this room raises on purpose."""


class AudioFormatError(AudioError):
    """Bytes that cannot be decoded as the negotiated format."""


class EngineError(AudioError):
    """An engine failed.

    Attributes:
        stage: where in the conversation it stands.
        provider: which engine, by its stable name (``"whisper"``, ``"piper"``, ``"azure"``).
        retryable: whether trying again may help.
        retry_after_s: how long a service asked to be left alone, where it said so.
    """

    retryable: ClassVar[bool] = True

    def __init__(self, message: str, *, stage: Stage, provider: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.stage: Stage = stage
        self.provider = provider
        self.retry_after_s = retry_after_s


class EngineUnavailable(EngineError):
    """The engine is not installed, could not be loaded or cannot be reached."""

    retryable = False


class EngineKeyRejected(EngineUnavailable):
    """The service refuses the credential."""


class EngineTimeout(EngineError):
    """The engine did not answer within its limit."""


class EngineOverloaded(EngineError):
    """The engine's bounded queue is full; older work was not dropped for newer."""
