"""The session's voice: paces the agent's audio to the client and knows what has been heard.

One task per session sends audio a little ahead of real time, so that "stop" really stops: what was not sent is gone at
once, and what the client still buffers is less than ``lead_ms``. Only the current turn's audio can leave; a turn that
has ended can no longer say anything. Owned by the session; turns write into it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents.core.outbox import Outbox
from agents.core.playback import Playback, Played
from agents.core.speech import Speech
from agents.core.spoken_items import Truncated, truncated
from agents.events import AudioOut, AudioOutEnded, MouthShape, VisemesOut
from audio.formats import Samples, ms_to_samples, samples_to_ms
from audio.playout import PlayoutLedger
from audio.stt.port import WordTiming
from audio.tts.port import Viseme

FIRST_CHUNK_MS: Final = 20
CHUNK_MS: Final = 60
AHEAD_MS: Final = 500
"""How much later than they are a client's reports, or our guesses, may say that words were heard."""
MAX_UNSENT_MS: Final = 10_000
"""Synthesis waits once this much audio is made but not sent: memory stays bounded, and little work is wasted."""


def _nobody(_: int) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A turn as its writer knows it, and whom to tell (from the writer's task, by plain calls).

    ``on_started``: the first of its audio has left; ``on_all_heard``: the last of it has been played.
    ``client_clears``: whether the client drops what it has when the voice is held. ``on_clause``: the clause it was to
    finish has been played. ``on_late`` is told, with the ms, when audio waited longer than ``late_ms`` for a client
    that took none, and phrases were left out for it (``None``: nothing ever is).
    """

    turn: int
    turn_id: str
    rate_hz: int
    on_started: Callable[[], None]
    on_all_heard: Callable[[], None]
    client_clears: bool = True
    on_clause: Callable[[], None] = lambda: None
    late_ms: int | None = None
    on_late: Callable[[int], None] = _nobody


@dataclass(frozen=True, slots=True)
class Heard:
    """What the user heard of a turn: milliseconds and words, how much audio had been made, and the whole account."""

    ms: int
    text: str
    synthesized_ms: int
    ledger: PlayoutLedger

    def until(self, ms: int, rate_hz: int) -> Heard:
        """The same, where the client says that it played no more than ``ms``."""
        left = truncated(self.ledger, rate_hz, ms)
        return replace(self, ms=min(self.ms, left.audio_ms), text=left.text)


class Writer:
    """Paces one session's speech. ``lead_ms`` is how far sending runs ahead of playing."""

    def __init__(self, outbox: Outbox, clock_ms: Callable[[], int], lead_ms: int = 240) -> None:
        """``clock_ms`` is a monotonic clock."""
        self._outbox = outbox
        self._clock_ms = clock_ms
        self._lead_ms = lead_ms
        self._speech: Speech | None = None
        self._voice: Voice | None = None
        self._playback = Playback()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            wait_ms = await self._send_due()
            timer = None if wait_ms is None else loop.call_later(wait_ms / 1_000, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    # --- what a turn does ---

    def open(self, voice: Voice, *, audible: bool) -> None:
        """A new turn will speak; whatever spoke before is silent from now on."""
        self._note_playing()
        self._playback.begin()
        self._voice = voice
        self._speech = Speech(
            voice.turn, voice.turn_id, voice.rate_hz, audible=audible, client_clears=voice.client_clears
        )
        self._drained.set()
        self._drained = asyncio.Event()

    def begin_phrase(self, turn: int, text: str) -> int | None:
        """The audio that follows says ``text``. Returns its start in ms of the turn's audio."""
        speech = self._of(turn)
        if speech is None:
            return None
        speech.ledger.add_segment(text)
        return speech.length_ms

    def extend_text(self, turn: int, text: str) -> None:
        """The phrase begun last goes on: ``text`` is spoken too."""
        speech = self._of(turn)
        if speech is not None:
            speech.ledger.extend_text(text)

    def word_ends(self, turn: int, sample: int, characters: int) -> None:
        """A word of the phrase begun last, which ends after ``characters`` of it, ends at ``sample`` of its audio."""
        speech = self._of(turn)
        if speech is not None:
            speech.ledger.word_ends(sample, characters)

    async def write(
        self, turn: int, samples: Samples, words: Sequence[WordTiming] = (), visemes: Sequence[Viseme] = ()
    ) -> int:
        """More of the phrase's audio, in the rate the turn was opened with; waits while too much is unsent.

        ``words`` and ``visemes`` are timed from the start of the phrase in that rate. Returns the length of the
        turn's audio in ms.
        """
        while (speech := self._of(turn)) is not None:
            if speech.unsent < ms_to_samples(MAX_UNSENT_MS, speech.rate_hz):
                start = speech.ledger.segment_start
                placed = [replace(viseme, start_sample=start + viseme.start_sample) for viseme in visemes]
                speech.append(samples, words, placed)
                self._wake.set()
                return speech.length_ms
            await self._drained.wait()
        return 0

    def cut(self, turn: int) -> None:
        """What the turn has not sent is not to be heard; other words may follow."""
        speech = self._of(turn)
        if speech is not None:
            speech.cut()
            self._drained.set()
            self._drained = asyncio.Event()

    def finish(self, turn: int) -> None:
        """The turn's audio is complete."""
        speech = self._of(turn)
        if speech is not None:
            speech.ledger.complete_segment()
            speech.finished = True
            self._wake.set()

    # --- what the session does ---

    def release(self, turn: int) -> None:
        """The turn is certain: let it be heard."""
        speech = self._of(turn)
        if speech is not None:
            speech.audible = True
            self._wake.set()

    def hold(self, turn: int) -> Heard | None:
        """Stop sending now; the client drops what it has buffered. ``None`` if the turn has no voice."""
        speech = self._of(turn)
        if speech is None or not speech.audible or speech.held:
            return None
        self._note_playing()
        speech.take_back(self._outbox.drop_audio(speech.turn_id))
        speech.hold(self._clock_ms())
        return self._heard(speech)

    def finish_clause(self, turn: int) -> None:
        """Send no more than the clause that sounds, and tell when it has been heard."""
        speech = self._of(turn)
        if speech is not None and not speech.held:
            speech.stop_at = speech.ledger.clause_end(speech.ledger.heard_samples(self._clock_ms()))
            self._wake.set()

    def resume(self, turn: int) -> int | None:
        """Go on from what was heard. Returns that position in ms of the turn's audio, ``None`` if it never stopped."""
        speech = self._of(turn)
        if speech is None:
            return None
        speech.stop_at = None
        self._wake.set()
        if not speech.held:
            return None
        self._note_playing()
        position = speech.resume()
        return samples_to_ms(position, speech.rate_hz)

    def drop(self, turn: int) -> Heard | None:
        """The turn is silent from now on. Returns what was heard of it, ``None`` if it had no voice."""
        self.hold(turn)
        return self.close(turn)

    def close(self, turn: int) -> Heard | None:
        """The turn was heard to its end; what still waits for a slow client stays."""
        speech = self._of(turn)
        if speech is None:
            return None
        self._note_playing()
        heard = self._heard(speech)
        self._playback.ended(heard.text, self._clock_ms())
        self._speech = None
        self._drained.set()
        self._wake.set()
        return heard

    def played(self, turn_id: str | None, ms: int) -> None:
        """The client reports what it has really played of a turn."""
        speech = self._speech
        if speech is not None and turn_id in (None, speech.turn_id):
            self._note_playing()
            speech.ledger.client_played(ms_to_samples(ms, speech.rate_hz), self._clock_ms())
            self._wake.set()

    def until(self, turn: int, ms: int) -> Truncated | None:
        """What is left of a turn that was played up to ``ms`` of its audio."""
        speech = self._of(turn)
        return None if speech is None else truncated(speech.ledger, speech.rate_hz, ms)

    # --- what the user has been hearing ---

    @property
    def now_ms(self) -> int:
        """The clock by which it is played."""
        return self._clock_ms()

    def played_lately(self, within_ms: int, ago_ms: int = 0) -> Played | None:
        """What had been played ``ago_ms`` ago, if anything was in the ``within_ms`` before that."""
        self._note_playing()
        return Played(self._playback, ago_ms) if self._playback.plays(self._clock_ms() - ago_ms, within_ms) else None

    def said_lately(self) -> str:
        """The words the user may have in the ear: those of the turn that speaks, and of those just before."""
        now_ms, speech = self._clock_ms(), self._speech
        said = self._playback.words(now_ms)
        if speech is not None and speech.position:
            said.append(speech.ledger.heard_text(min(speech.position, speech.ledger.heard_samples(now_ms + AHEAD_MS))))
        return " ".join(said)

    def _note_playing(self) -> None:
        speech = self._speech
        self._playback.advance(None if speech is None else speech.ledger, self._clock_ms())

    # --- pacing ---

    async def _send_due(self) -> int | None:
        """Send what may leave now. Returns the ms until more may, ``None`` where only a call can change that."""
        while True:
            speech = self._speech
            if speech is None or not speech.audible or speech.held:
                return None
            now_ms = self._clock_ms()
            heard = speech.ledger.heard_samples(now_ms)
            lead_ms = samples_to_ms(speech.position - heard, speech.rate_hz)
            if speech.stop_at is not None and speech.position >= speech.stop_at:
                return self._clause_sent(speech, speech.stop_at - heard)
            if speech.unsent == 0:
                return self._all_sent(speech, lead_ms, now_ms)
            if lead_ms >= self._lead_ms:
                return lead_ms - self._lead_ms + CHUNK_MS // 2
            await self._outbox.audio_room()
            if self._speech is speech and speech.audible and not speech.held:
                self._catch_up(speech, self._clock_ms() - now_ms)
                self._send(speech, self._clock_ms())

    def _catch_up(self, speech: Speech, waited_ms: int) -> None:
        """The client took no audio for so long: phrases whose time has passed are left out, what follows is fresh."""
        voice = self._voice
        if voice is None or voice.late_ms is None or waited_ms <= voice.late_ms:
            return
        speech.take_back(self._outbox.drop_audio(speech.turn_id))
        if speech.skip(ms_to_samples(waited_ms, speech.rate_hz)):
            voice.on_late(waited_ms)

    def _send(self, speech: Speech, now_ms: int) -> None:
        start = speech.position
        chunk_ms = FIRST_CHUNK_MS if start == 0 else CHUNK_MS
        samples = speech.take(ms_to_samples(chunk_ms, speech.rate_hz), now_ms)
        start_ms = samples_to_ms(start, speech.rate_hz)
        visemes = speech.take_visemes()
        if visemes:
            shapes = (MouthShape(each.shape, samples_to_ms(each.start_sample, speech.rate_hz)) for each in visemes)
            self._outbox.emit(VisemesOut(speech.turn_id, tuple(shapes)))
        self._outbox.emit(AudioOut(speech.turn_id, samples, speech.rate_hz, start_ms))
        self._playback.sent(start, samples, speech.rate_hz)
        speech.forget_heard(now_ms)
        self._drained.set()
        self._drained = asyncio.Event()
        if start == 0 and self._voice is not None:
            self._voice.on_started()

    def _clause_sent(self, speech: Speech, left: int) -> int | None:
        if left > 0:
            return max(5, samples_to_ms(left, speech.rate_hz))
        if self._voice is not None:
            self._voice.on_clause()
        return None

    def _all_sent(self, speech: Speech, lead_ms: int, now_ms: int) -> int | None:
        if not speech.finished:
            return None
        if not speech.ended:
            speech.ended = True
            self._outbox.emit(AudioOutEnded(speech.turn_id, speech.length_ms))
        if speech.all_heard(now_ms):
            if self._voice is not None:
                self._voice.on_all_heard()
            return None
        return max(5, lead_ms)

    def _of(self, turn: int) -> Speech | None:
        return self._speech if self._speech is not None and self._speech.turn == turn else None

    def _heard(self, speech: Speech) -> Heard:
        heard = speech.ledger.heard_samples(self._clock_ms())
        heard_ms = samples_to_ms(heard, speech.rate_hz)
        return Heard(heard_ms, speech.ledger.heard_text(heard), speech.made_ms, speech.ledger)
