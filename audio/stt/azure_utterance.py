"""One utterance as a streaming service hears it: finals, a hypothesis, and what a flush may be answered with.

Pure: told of words and of time having passed, it says which transcript is due. Positions are the session's, in samples
at 16 kHz. Driven by ``audio.stt.azure``.

A flush is answered by the first of these:

==================================  =====================================================================
what                                when
==================================  =====================================================================
finals that reach the end           as they come; nothing better will
a hypothesis that reaches the end   at once: stable interim text is acted upon, the final comes as CORRECTED
finals that do not                  after ``settle_s``: what follows them seems to be noise
a hypothesis that does not          after ``interim_s``, unless its recognizer was lost meanwhile
an empty final                      the service heard nothing in it
==================================  =====================================================================

What was answered with interim words is corrected once finals reach as far as those words did, in however many phrases
the service puts them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from audio.formats import HEARING_RATE_HZ, Samples, ms_to_samples
from audio.stt.port import Transcript, TranscriptKind, WordTiming

_SLACK: Final = ms_to_samples(150, HEARING_RATE_HZ)
"""What speech's end, as our detector tells it, may lie past the last word."""
_QUIET_SHARE: Final = 0.06
"""Of the loudest chunk's level (-24 dB): what is below it holds no word."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A phrase, in session samples."""

    text: str
    start: int
    end: int
    confidence: float | None = None
    language: str | None = None
    words: tuple[WordTiming, ...] = ()


@dataclass(frozen=True, slots=True)
class _Heard:
    start: int
    samples: Samples
    level: float


class AzureUtterance:
    """From ``begin`` to ``end``, and a little after for corrections."""

    def __init__(
        self, utterance_id: int, start_sample: int, say: Callable[[Transcript], None], *, partials: bool
    ) -> None:
        self.utterance_id = utterance_id
        self.start_sample = start_sample
        self.end_sample = start_sample
        self._say = say
        self._partials = partials
        self._finals: list[Piece] = []
        self._hypothesis: Piece | None = None
        self._flush_through: int | None = None
        self._answered: Transcript | None = None
        self._owed_until = 0
        """How far the speech reached that was answered with words which are not final yet."""
        self._shown = ""
        self.unconfirmed_samples = 0
        """Of audio no final covers yet."""
        self._audio: deque[_Heard] = deque()
        self._loudest = 0.0

    # --- audio ---

    def push(self, start_sample: int, samples: Samples) -> None:
        """Audio of the utterance: kept until the service's final covers it."""
        self.end_sample = start_sample + len(samples)
        level = float(np.abs(samples.astype(np.int32)).mean()) if len(samples) else 0.0
        self._loudest = max(self._loudest, level)
        self._audio.append(_Heard(start_sample, samples, level))
        self.unconfirmed_samples += len(samples)
        if level > self._loudest * _QUIET_SHARE:
            self._answered = None  # the speaker goes on

    def unconfirmed(self) -> list[tuple[int, Samples]]:
        """Audio no final covers yet: what another recognizer must hear."""
        return [(heard.start, heard.samples) for heard in self._audio]

    def release(self) -> None:
        """The utterance is over: only a correction of what was answered may still come. Where an answer was due,
        whoever listens did not wait for it and acts on the words that were shown."""
        if self._flush_through is not None and self._shown:
            self._answer_silently(self._flush_through)
        self._audio.clear()
        self._flush_through = None
        self._partials = False

    @property
    def may_be_corrected(self) -> bool:
        """Whether it was answered with words that are not final yet."""
        return self._answered is not None and self._final_until < self._owed_until

    @property
    def _final_until(self) -> int:
        return self._finals[-1].end + _SLACK if self._finals else 0

    # --- flushing ---

    @property
    def is_flushing(self) -> bool:
        """Whether an answer is due."""
        return self._flush_through is not None

    @property
    def has_text(self) -> bool:
        """Whether anything was understood."""
        return bool(self._text())

    @property
    def is_final(self) -> bool:
        """Whether the service has done with all it understood."""
        return bool(self._finals) and self._hypothesis is None

    def flush(self, through_sample: int) -> None:
        """Answer as soon as ``answer_if_covered`` can."""
        self._flush_through = through_sample
        self._answered = None

    def answer_if_covered(self) -> bool:
        """Answer the pending flush if the text reaches its end."""
        if self._flush_through is None:
            return False
        through = min(self._flush_through, self.end_sample)
        if self.end_sample == self.start_sample or self._covers(through):
            return self.answer()
        return False

    def answer(self) -> bool:
        """Answer the pending flush with what there is."""
        through, self._flush_through = self._flush_through, None
        if through is None:
            return False
        self._say(self._answer_silently(through))
        return True

    def _answer_silently(self, through: int) -> Transcript:
        self._owed_until = 0 if self._hypothesis is None else self._speech_until(self._hypothesis.end)
        self._answered = self._transcript(TranscriptKind.FLUSHED, through)
        return self._answered

    def drop_flush(self) -> None:
        """The pending flush will be answered otherwise."""
        self._flush_through = None

    # --- words ---

    def hypothesis(self, piece: Piece) -> None:
        """Interim words. Speech already final is not taken back."""
        if self._finals and piece.end <= self._finals[-1].end:
            return
        self._hypothesis = piece
        if self._answered is not None:
            if self._covers(min(self._answered.through_sample, self.end_sample)):
                self._owed_until = self._speech_until(piece.end)
                self._correct()
        elif not self.answer_if_covered():
            self._show_partial()

    def final(self, piece: Piece) -> None:
        """A phrase the service has done with; an empty one says that it heard nothing."""
        self._hypothesis = None
        self._confirm(piece.end)
        if piece.text:
            self._finals.append(piece)
        if self._answered is not None:
            if self._final_until >= self._owed_until:  # else more of what was answered is still to come
                self._correct()
        elif not piece.text and self._flush_through is not None and not self._finals:
            self.answer()
        elif not self.answer_if_covered() and piece.text:
            self._show_partial()

    def _covers(self, through: int) -> bool:
        """Whether the words reach as far as that, or what follows them is too quiet to hold any."""
        pieces = self._pieces()
        if not pieces:
            return False
        end = pieces[-1].end + _SLACK
        quiet = self._loudest * _QUIET_SHARE
        return all(heard.level <= quiet for heard in reversed(self._audio) if end <= heard.start < through)

    def _speech_until(self, end: int) -> int:
        """The end of what is loud before ``end``: a hypothesis may reach into the silence, and its final does not."""
        quiet = self._loudest * _QUIET_SHARE
        loud = (heard for heard in reversed(self._audio) if heard.start < end and heard.level > quiet)
        last = next(loud, None)
        return end if last is None else min(end, last.start + len(last.samples))

    def _confirm(self, through: int) -> None:
        while self._audio and self._audio[0].start + len(self._audio[0].samples) <= through:
            self.unconfirmed_samples -= len(self._audio.popleft().samples)

    def _show_partial(self) -> None:
        text = self._text()
        if self._partials and text and text != self._shown:
            self._shown = text
            self._say(self._transcript(TranscriptKind.PARTIAL, self._pieces()[-1].end))

    def _correct(self) -> None:
        assert self._answered is not None
        better = self._transcript(TranscriptKind.CORRECTED, self._answered.through_sample)
        if better.text and better.text != self._answered.text:
            self._answered = better
            self._say(better)

    def _pieces(self) -> list[Piece]:
        return [*self._finals, *([] if self._hypothesis is None else [self._hypothesis])]

    def _text(self) -> str:
        text = " ".join(piece.text for piece in self._pieces() if piece.text)
        return text[:1].upper() + text[1:]

    def _transcript(self, kind: TranscriptKind, through: int) -> Transcript:
        pieces = self._pieces()
        known = [(piece.confidence, len(piece.text)) for piece in pieces if piece.confidence is not None]
        weight = sum(length for _, length in known)
        confidence = sum(value * length for value, length in known) / weight if weight else None
        return Transcript(
            self.utterance_id,
            kind,
            self._text(),
            self.start_sample,
            through,
            language=next((piece.language for piece in reversed(pieces) if piece.language), None),
            confidence=confidence if pieces and self._hypothesis is None else None,
            words=tuple(word for piece in pieces for word in piece.words),
            interim=kind is TranscriptKind.FLUSHED and self._hypothesis is not None,
        )
