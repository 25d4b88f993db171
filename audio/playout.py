"""The playout ledger of one turn: what was synthesized, what was sent, and what of it was heard.

Pure: positions are samples of the turn's audio at the rate it is sent in, times are milliseconds the caller passes,
all integers; no clock, no I/O. The turn's writer owns one ledger, tells it what it does, and asks it how far ahead of
the listener it is and, at an interruption, which words reached them.

    add_segment ─► extend… ─► complete_segment     what exists      synthesized_samples
      (a streamed one: extend_text…, word_ends…)
    sent, unsend                                   what went out    sent_samples        <= synthesized
    client_played, or else the passing of time     what was heard   heard_samples(now)  <= sent

Without word from the client the ledger assumes that it plays in real time from the first sample sent, waits when it has
nothing to play, and goes on when more comes. Network and buffering make that early by some tens of milliseconds, so
a client's own report always wins, forwards or backwards.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from audio.stt.port import WordTiming

_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and ideographs, written without spaces: each counts as a word."""

_WORD: Final = re.compile(rf"[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")
_WORD_CHARACTER: Final = re.compile(r"\w")
_CLAUSE_ENDS: Final = (",", ";", ":", ".", "?", "!", "…", "、", "。", "，", "？", "！", "；", "।", "؟")
_CLOSING: Final = "\"'”’»)]"
_WORDS_AHEAD: Final = 4
"""How many words of the text a timed word may skip: engines say "twenty" where the text has "20"."""

_SLOWEST_MS_PER_CHARACTER: Final = 80
"""A slow voice. While a phrase is still being synthesized its length is taken for no less than this gives, so that
its words count as heard late rather than early."""


class PlayoutLedger:
    """Samples and words of one turn's speech. Misuse by the writer raises ValueError; a client cannot cause any."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._segments: list[_Segment] = []
        self._synthesized = 0
        self._sent = 0
        self._held = False
        self._confirmed = 0
        # The client was at this position at this time and has played since; None: it is not playing.
        self._position = 0
        self._position_ms: int | None = None

    # What exists

    @property
    def synthesized_samples(self) -> int:
        """Length of the turn's audio so far."""
        return self._synthesized

    @property
    def segment_start(self) -> int:
        """Where the current segment begins."""
        return self._segments[-1].start_sample if self._segments else 0

    @property
    def full_text(self) -> str:
        """The text of all segments."""
        return "".join(segment.text for segment in self._segments)

    def add_segment(self, text: str) -> None:
        """The next phrase begins, and the one before is complete. Its audio follows in ``extend``.

        ``text`` carries its own spacing: texts are joined as they are.
        """
        self.complete_segment()
        self._segments.append(_Segment(text, self._synthesized, self._sample_rate_hz))

    def extend(self, samples: int, words: Sequence[WordTiming] = ()) -> None:
        """More audio of the current segment exists: ``samples`` of it.

        ``words`` are timed from the start of the segment, in this ledger's rate, each given once and in order.
        """
        if samples < 0 or not self._segments or self._segments[-1].complete:
            raise ValueError(f"no open segment to extend by {samples} samples")
        self._segments[-1].extend(samples, words)
        self._synthesized += samples

    def extend_text(self, text: str) -> None:
        """The current segment says more than was known: its text goes on. Its words are told by ``word_ends``."""
        self._open_segment().extend_text(text)

    def word_ends(self, sample: int, characters: int) -> None:
        """A word of the current segment, which ends after ``characters`` of its text, ends at ``sample`` of it."""
        self._open_segment().word_ends(sample, characters)

    def _open_segment(self) -> _Segment:
        if not self._segments or self._segments[-1].complete:
            raise ValueError("no open segment")
        return self._segments[-1]

    def cut(self) -> None:
        """What was not sent never will be: audio and words end where sending has come to."""
        while self._segments and self._segments[-1].start_sample >= self._sent:
            self._segments.pop()
        if self._segments:
            self._segments[-1].cut(self._sent - self._segments[-1].start_sample)
        self._synthesized = self._sent

    def skip(self, most: int) -> int:
        """Phrases that are late are left out: from where sending has come to, those that end within ``most`` samples.

        Only whole rests of phrases go, never the last phrase, and none whose audio is not all there. Returns the
        samples left out; what follows moves up.
        """
        end = self._sent
        for segment, following in pairwise(self._segments):
            ends = segment.start_sample + segment.samples
            if not segment.complete or ends > self._sent + most or not following.samples:
                break
            end = max(end, ends)
        gone = end - self._sent
        if not gone:
            return 0
        self._segments = [each for each in self._segments if not self._sent <= each.start_sample < end]
        for segment in self._segments:
            if segment.start_sample >= end:
                segment.start_sample -= gone
            elif segment.start_sample + segment.samples > self._sent:
                segment.cut(self._sent - segment.start_sample)
        self._synthesized -= gone
        return gone

    def complete_segment(self) -> None:
        """The current segment has all its audio. Until then an untimed last word never counts as heard."""
        if self._segments:
            self._segments[-1].complete = True

    # What was sent and heard

    @property
    def sent_samples(self) -> int:
        """How far the audio was sent: a position, which ``resume`` sets back."""
        return self._sent

    def sent(self, samples: int, at_ms: int) -> None:
        """The next ``samples`` went out at ``at_ms``."""
        if self._held:
            raise ValueError("nothing is sent while playout is held")
        if not 0 <= samples <= self._synthesized - self._sent:
            raise ValueError(f"{samples} samples sent, but {self._synthesized - self._sent} were there to send")
        if samples and (self._position_ms is None or self.heard_samples(at_ms) == self._sent):
            # It starts, or had run dry: it plays on from here.
            self._position, self._position_ms = self._sent, at_ms
        self._sent += samples

    def unsend(self, samples: int) -> None:
        """The last ``samples`` did not go out after all: they were still in a queue and were taken from it."""
        if not 0 <= samples <= self._sent:
            raise ValueError(f"{samples} samples taken back, but {self._sent} were sent")
        self._sent -= samples
        self._position = min(self._position, self._sent)
        self._confirmed = min(self._confirmed, self._sent)

    def heard_samples(self, now_ms: int) -> int:
        """Position up to which the turn was heard. Grows with time up to ``sent_samples``.

        Only a client's report, ``unsend`` or ``resume`` makes it smaller; no report takes back what another confirmed.
        """
        if self._position_ms is None:
            return self._position
        elapsed_ms = max(0, now_ms - self._position_ms)
        return min(self._sent, self._position + elapsed_ms * self._sample_rate_hz // 1_000)

    def buffered_samples(self, now_ms: int) -> int:
        """Samples sent and not heard yet: how far ahead of the listener the writer is."""
        return self._sent - self.heard_samples(now_ms)

    def client_played(self, samples: int, at_ms: int) -> None:
        """The client says it has played the turn's audio up to ``samples``, at ``at_ms``.

        From here on the estimate starts from there. What cannot be (more than was sent, less than it said before) is
        taken for the nearest that can.
        """
        self._confirmed = min(max(samples, self._confirmed), self._sent)
        self._position = self._confirmed
        if self._position_ms is not None:
            self._position_ms = at_ms

    def hold(self, now_ms: int) -> None:
        """Playing stopped at ``now_ms`` and the client dropped what it had buffered. A report may still correct it."""
        self._position, self._position_ms = self.heard_samples(now_ms), None
        self._held = True

    def resume(self, from_sample: int, not_before: int = 0) -> int:
        """Sending starts again at ``from_sample``, or where hearing stopped if that is earlier. Returns which."""
        if not self._held:
            raise ValueError("playout resumes only after it was held")
        self._held = False
        self._sent = self._position = max(not_before, min(from_sample, self._position))
        self._confirmed = min(self._confirmed, self._position)
        return self._position

    # In words

    def heard_text(self, samples: int) -> str:
        """The text spoken up to a position, in whole words: a prefix of ``full_text``, all of it at the end.

        By the engine's word timings where it gave any; between them, and without, in proportion to the characters.
        """
        return "".join(self._heard_parts(samples))

    def remaining_text(self, samples: int) -> str:
        """The rest of ``full_text``."""
        return self.full_text[len(self.heard_text(samples)) :]

    def word_start(self, samples: int) -> int:
        """Where the word that sounds at a position begins, as near as is known: a clean place to resume from."""
        at = bisect_right(self._segments, samples, key=lambda segment: segment.start_sample) - 1
        if at < 0:
            return 0
        segment = self._segments[at]
        return segment.start_sample + segment.word_start(samples - segment.start_sample)

    def clause_end(self, samples: int) -> int | None:
        """Where the clause that sounds at a position ends, as near as is known; ``None`` where that is not made yet."""
        for segment in self._segments:
            local = samples - segment.start_sample
            if local >= segment.samples:
                continue
            end = segment.clause_end(max(0, local))
            if end is not None:
                return segment.start_sample + end
        return None

    def _heard_parts(self, samples: int) -> Iterator[str]:
        if samples <= 0:
            return
        for segment in self._segments:
            local = samples - segment.start_sample
            if segment.complete and local >= segment.samples:
                yield segment.text
                continue
            yield segment.heard_text(local)
            return


@dataclass(slots=True)
class _Segment:
    """One phrase: its text, its stretch of audio, and points where a character is known to end at a sample.

    Samples here count from the start of the segment.
    """

    text: str
    start_sample: int
    sample_rate_hz: int
    samples: int = 0
    complete: bool = False
    spans: list[tuple[int, int]] = field(init=False)  # of words, as characters
    known: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # (sample, characters), both rising
    matched_characters: int = 0

    def __post_init__(self) -> None:
        self.spans = [match.span() for match in _WORD.finditer(self.text)]

    def extend(self, samples: int, words: Sequence[WordTiming]) -> None:
        self.samples += samples
        for word in words:
            end = self._match(word.text.strip())
            if end is not None:
                self.word_ends(word.end_sample, end)

    def extend_text(self, text: str) -> None:
        start = self.spans.pop()[0] if self.spans else 0  # what seemed its last word may go on
        self.text += text
        self.spans.extend(match.span() for match in _WORD.finditer(self.text, start))

    def word_ends(self, sample: int, characters: int) -> None:
        last_sample, last_characters = self.known[-1] if self.known else (0, 0)
        if sample > last_sample and characters > last_characters:
            self.known.append((sample, characters))

    def cut(self, samples: int) -> None:
        if samples < self.samples or not self.complete:
            self.text = self.heard_text(samples)
        self.samples, self.complete = samples, True
        self.spans = [span for span in self.spans if span[1] <= len(self.text)]
        self.known = [point for point in self.known if point[0] <= samples and point[1] <= len(self.text)]

    def heard_text(self, samples: int) -> str:
        """The words that end at or before ``samples``."""
        words = bisect_right(self.spans, self._characters_at(samples), key=lambda span: span[1])
        return self.text[: self.spans[words - 1][1]] if words else ""

    def word_start(self, samples: int) -> int:
        """The sample at which the word sounding at ``samples`` begins; ``samples`` itself after the last word."""
        word = bisect_right(self.spans, self._characters_at(samples), key=lambda span: span[1])
        if samples <= 0 or word == len(self.spans):
            return max(0, samples)
        character = self.spans[word][0]
        for (sample, before), (next_sample, after) in self._stretches():
            if character < after:
                return min(samples, sample + (character - before) * (next_sample - sample) // (after - before))
        return samples

    def clause_end(self, samples: int) -> int | None:
        """The sample at which the clause sounding at ``samples`` ends; ``None`` where that is not in this segment."""
        word = bisect_right(self.spans, self._characters_at(samples), key=lambda span: span[1])
        for start, end in self.spans[word:]:
            if self.text[start:end].rstrip(_CLOSING).endswith(_CLAUSE_ENDS):
                return self._sample_after(end)
        return None

    def _sample_after(self, characters: int) -> int | None:
        """Where the first ``characters`` have been spoken; ``None`` where that is more than there is of the audio."""
        for (sample, before), (next_sample, after) in self._stretches():
            if before < characters <= after:
                end = sample + (characters - before) * (next_sample - sample) // (after - before)
                return end if end <= self.samples else None
        return None

    def _characters_at(self, samples: int) -> int:
        for (sample, before), (next_sample, after) in self._stretches():
            if samples < next_sample:
                return before + (after - before) * max(0, samples - sample) // (next_sample - sample)
        return len(self.text)

    def _stretches(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Between neighbouring known points, from the start to the end of the segment."""
        length = self._length_samples()
        last = (0, 0)
        for sample, characters in (*self.known, (length, len(self.text))):
            point = (min(sample, length), characters)
            yield last, point
            last = point

    def _length_samples(self) -> int:
        """The segment's length; more than is known while it is incomplete, so that its last word stays unheard."""
        if self.complete:
            return self.samples
        sample, characters = self.known[-1] if self.known else (0, 0)
        slow = (len(self.text) - characters) * self.sample_rate_hz * _SLOWEST_MS_PER_CHARACTER // 1_000
        return max(self.samples + 1, sample + max(1, slow))

    def _match(self, word: str) -> int | None:
        """Find a timed word in the next words of the text: where it ends there, with its punctuation."""
        first = bisect_right(self.spans, self.matched_characters, key=lambda span: span[1])
        for start, end in self.spans[first : first + _WORDS_AHEAD]:
            found = self.text.find(word, max(start, self.matched_characters), end) if word else -1
            if found >= 0:
                matched = found + len(word)
                self.matched_characters = matched if _WORD_CHARACTER.search(self.text, matched, end) else end
                return self.matched_characters
        return None
