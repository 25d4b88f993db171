"""The transcript of the utterance under way: shown as it grows, final once it became a turn, corrected later if wrong.

Also remembers when it was asked for and when it came, for the turn's latency. Owned by the session.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from agents.core.hearing import SAMPLES_PER_MS
from agents.core.outbox import Outbox
from agents.events import Caption, TranscriptUpdated
from audio.stt.port import Transcript, TranscriptKind

KEPT: Final = 4
"""Utterances that are over and may still be corrected."""


class TranscriptDesk:
    """Keeps the latest transcript and tells the client of it."""

    def __init__(self, outbox: Outbox, monotonic_s: Callable[[], float]) -> None:
        self._outbox = outbox
        self._monotonic_s = monotonic_s
        self._latest: Transcript | None = None
        self._told: OrderedDict[int, tuple[Transcript, str | None]] = OrderedDict()
        self._better: Transcript | None = None
        self.flushed_at_s = 0.0
        self.transcribed_at_s = 0.0

    @property
    def is_interim(self) -> bool:
        """Whether recognition answered with words it may still correct."""
        return self._latest is not None and self._latest.interim

    def asked(self) -> None:
        """Recognition was just asked for all that was said."""
        self.flushed_at_s = self.transcribed_at_s = self._monotonic_s()

    def update(self, transcript: Transcript) -> None:
        """A newer transcript of the utterance."""
        latest, self._latest = self._latest, transcript
        if transcript.kind is not TranscriptKind.PARTIAL:
            self.transcribed_at_s = self._monotonic_s()
        same = latest is not None and (latest.utterance_id, latest.text) == (transcript.utterance_id, transcript.text)
        if transcript.text and not same:
            self._outbox.emit(_shown(transcript, None))
            self._caption(transcript, None)

    def learn(self, transcript: Transcript) -> None:
        """A better transcript of an utterance that is over, should ``correct`` want it."""
        self._better = transcript

    def forget(self, utterance: int) -> None:
        if self._latest is not None and self._latest.utterance_id == utterance:
            self._latest = None

    def settle(self, turn_id: str) -> None:
        """The utterance became a turn: its text is final."""
        latest, self._latest = self._latest, None
        if latest is not None and latest.text:
            self._finish(latest, turn_id)

    def settle_as(self, utterance: int, text: str) -> None:
        """The utterance is part of the conversation with this text, and nobody answers it by itself."""
        latest, self._latest = self._latest, None
        if latest is None or latest.utterance_id != utterance:
            latest = Transcript(utterance, TranscriptKind.FLUSHED, text, 0, 0)
        self._finish(replace(latest, text=text), None)

    def correct(self, utterance: int, text: str, turn_id: str | None = None) -> None:
        """An utterance that was told as final said this; ``turn_id`` where another turn answers it now."""
        told = self._told.get(utterance)
        if told is None:
            return
        before, answered_by = told
        better = self._better
        if better is None or (better.utterance_id, better.text) != (utterance, text):
            better = replace(before, text=text, confidence=None)
        self._finish(
            replace(better, start_sample=before.start_sample, through_sample=before.through_sample),
            turn_id or answered_by,
            corrected=True,
        )

    def _finish(self, transcript: Transcript, turn_id: str | None, *, corrected: bool = False) -> None:
        self._told[transcript.utterance_id] = (transcript, turn_id)
        while len(self._told) > KEPT:
            self._told.popitem(last=False)
        self._outbox.emit(replace(_shown(transcript, turn_id, final=True), corrected=corrected))
        if transcript.text:
            self._caption(transcript, turn_id, final=True)

    def _caption(self, transcript: Transcript, turn_id: str | None, *, final: bool = False) -> None:
        start_ms, end_ms = _span_ms(transcript)
        self._outbox.emit(Caption("user", transcript.text, start_ms, end_ms, final, turn_id))


def _span_ms(transcript: Transcript) -> tuple[int, int]:
    return transcript.start_sample // SAMPLES_PER_MS, transcript.through_sample // SAMPLES_PER_MS


def _shown(transcript: Transcript, turn_id: str | None, *, final: bool = False) -> TranscriptUpdated:
    start_ms, end_ms = _span_ms(transcript)
    return TranscriptUpdated(
        utterance_id=transcript.utterance_id,
        text=transcript.text,
        final=final,
        start_ms=start_ms,
        end_ms=end_ms,
        turn_id=turn_id,
        language=transcript.language,
        confidence=transcript.confidence,
    )
