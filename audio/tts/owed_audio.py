"""Waiting for the audio of text that is still being written: a limit runs only while audio is due.

Owns one wait at a time. A model that dribbles, or waits for a tool, is no dead voice: while nothing is due nobody is
late. Driven by who takes a stream's audio; told by who writes its text.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from typing import Final

import anyio

from audio.errors import EngineError
from audio.tts.port import SpeechAudio
from audio.tts.text_progress import TextProgress

NO_LIMIT: Final = math.inf


class OwedAudio:
    """Limits in seconds: ``first_s`` for the first audio, ``gap_s`` between two pieces."""

    def __init__(self, progress: TextProgress, first_s: float, gap_s: float) -> None:
        self._progress = progress
        self._limit_s = first_s
        self._gap_s = gap_s
        self._wait: anyio.CancelScope | None = None
        self._failure: EngineError | None = None

    @property
    def limit_s(self) -> float:
        """The limit that runs, or would."""
        return self._limit_s

    async def next(self, audio: AsyncGenerator[SpeechAudio]) -> SpeechAudio | None:
        """The next piece, ``None`` at the end. Raises TimeoutError, or what ``fail`` was told."""
        if self._failure is not None:
            raise self._failure
        piece: SpeechAudio | None = None
        with anyio.CancelScope() as self._wait:
            self.text_changed()
            piece = await anext(audio, None)
        late, self._wait = self._wait.cancelled_caught, None
        if self._failure is not None:
            raise self._failure
        if late:
            raise TimeoutError
        self._limit_s = self._gap_s
        return piece

    def text_changed(self) -> None:
        """Text was written, or is complete: what was not due may be due now."""
        wait = self._wait
        if wait is not None and wait.deadline == math.inf and self._progress.owes_audio:
            wait.deadline = anyio.current_time() + self._limit_s

    def fail(self, error: EngineError) -> None:
        """Nothing more will come: end the wait with this."""
        self._failure = error
        if self._wait is not None:
            self._wait.cancel()
