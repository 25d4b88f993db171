"""The session's guard against its own voice: finds the echo, says so, and keeps it from becoming a turn.

Owns what is known of the echo (how late, how loud, since when) and whether the session is half-duplex. Compares the
microphone with what was played, several times a second while both make a sound and else not at all; transcripts that
repeat what was said count as well. Once sure, only what is louder than the echo is heard while the agent speaks, until
the echo has stayed away. Knows no turns: it names an utterance that is an echo, and the turn machine lets go of it.
Driven by the session; time is ms of audio heard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from agents.core.echo_gate import EchoGate
from agents.core.echo_words import MIN_WORDS, repeats
from agents.core.hearing import Hearing
from agents.core.mic_delay import MicDelay
from agents.core.options import SessionOptions
from agents.core.playback import Played
from agents.core.sentences import sentences_for
from agents.core.turn_types import EchoHeard, TranscriptArrived, TurnEvent
from agents.core.writer import Writer
from agents.events import Degraded
from audio.echo import FRAME_MS, EchoMatch, Levels, band_levels, match_echo
from audio.formats import HEARING_RATE_HZ, Samples, ms_to_samples

WINDOW_FRAMES: Final = 120
"""What is compared to find an echo: 2.4 s, of which what was played may be little, where it is held again and again."""
RECENT_FRAMES: Final = 48
"""What is compared to find one that is known: 960 ms, short enough to notice somebody else."""
MAX_LAG_FRAMES: Final = 40
"""The longest way an echo takes: 800 ms of network, buffers and devices, there and back."""
CHECK_EVERY_MS: Final = 80
WATCH_EVERY_MS: Final = 480
"""How often an echo that is known is looked for, to learn its level and whether it has gone."""
SUSPECT: Final = 0.66
"""Likeness that makes it worth waiting for more, before the agent is stopped."""
SUSPECT_MS: Final = 500
"""How long, counted from the sound's beginning."""
APART_MS: Final = 160
"""Two looks that agree are this far apart."""
TOGETHER_MS: Final = 30_000
"""Signs of an echo that are further apart are chance."""
SURE: Final = 0.66
"""Likeness that speech of somebody else reaches in fewer than one look of a thousand."""
SURE_OF_LITTLE: Final = 0.7
"""The same, of less than ``ENOUGH_FRAMES`` of our own voice."""
LIKELY: Final = 0.5
"""Likeness at a lag that is already known, or of words that are already known."""
DOUBTFUL: Final = 0.4
"""Below this the sound is something else, whatever its words are."""
ENOUGH_FRAMES: Final = 24
SAME_LAG: Final = 2
"""Two looks at one echo differ by this much."""
WANDER: Final = 4
"""So much does the lag of one echo differ from reply to reply: 80 ms of buffers that fill anew."""
MEANT_FRAMES: Final = 30
"""Who spoke over the echo in the last 600 ms has not finished."""
LEARNING: Final = 0.4
ABSENT_MS: Final = 8_000
"""Our own voice without its echo, for this long: the session is full-duplex again."""
_FRAME: Final = ms_to_samples(FRAME_MS, HEARING_RATE_HZ)
_REACH_MS: Final = (MAX_LAG_FRAMES + 20) * FRAME_MS

Duplex = Literal["full_duplex", "half_duplex"]


@dataclass(frozen=True, slots=True)
class EchoPorts:
    """What the guard works with. ``on_event`` takes what the turn machine is to know, ``emit`` what the client is, in
    the language of the ``options``. Where only the client ends a turn, whatever is heard is meant, and not guarded."""

    writer: Writer
    hearing: Callable[[], Hearing]
    on_event: Callable[[TurnEvent], None]
    emit: Callable[[Degraded], None]
    options: Callable[[], SessionOptions]


@dataclass(frozen=True, slots=True)
class _Look:
    match: EchoMatch
    near: Levels
    playback: Played


class EchoGuard:
    """One session's. ``prompt`` is what the user should be told aloud, once, when there is a moment for it."""

    def __init__(self, ports: EchoPorts) -> None:
        self._ports = ports
        self._duplex: Duplex = "full_duplex"
        self._gate = EchoGate()
        self._known: EchoMatch | None = None
        self._sign: tuple[int, int] | None = None  # when, and at which lag
        self._next_ms = 0
        self._spoken_since_ms: int | None = None
        self._suspected = False
        self._absent_ms = 0
        self._waiting = np.empty(0, np.int16)
        self._delay = MicDelay()
        self._open = True
        self._prompted = False
        self.prompt: str | None = None

    @property
    def half_duplex(self) -> bool:
        """Whether only what is louder than the echo is heard while the agent speaks."""
        return self._duplex == "half_duplex"

    @property
    def suspects(self) -> bool:
        """Whether the sound that runs is perhaps our own, and may still turn out to be: a bad moment for decisions."""
        since_ms = self._spoken_since_ms
        return self._suspected and since_ms is not None and self._ports.hearing().now_ms - since_ms < SUSPECT_MS

    # --- hearing ---

    def admit(self, samples: Samples) -> bool:
        """Whether voice activity is to be looked for in the next samples; else they are our own voice, or silence."""
        writer = self._ports.writer
        self._delay.heard(self._ports.hearing().now_ms, writer.now_ms)
        known = self._known
        if known is None or not self._applies:
            return True
        playback = writer.played_lately(_REACH_MS + self._farther_ms, self._delay.late_ms)
        if playback is None:
            self._waiting = self._waiting[:0]
            self._open = True
            return True
        self._waiting = np.concatenate([self._waiting, samples])
        frames = len(self._waiting) // _FRAME
        near = band_levels(self._waiting, HEARING_RATE_HZ)
        self._waiting = self._waiting[frames * _FRAME :]
        for near_db, played_db in zip(near, _played_db(playback, known.lag, frames), strict=True):
            self._open = self._gate.passes(near_db, played_db, known.gains_db)
        return self._open

    def weigh(self, *, speaking: bool) -> None:
        """After every chunk: compare, if it is time. ``speaking`` is what voice activity says."""
        now_ms = self._ports.hearing().now_ms
        self._spoken_since_ms = (self._spoken_since_ms or now_ms) if speaking else None
        if now_ms < self._next_ms or not (speaking or self.half_duplex) or not self._applies:
            return
        self._next_ms = now_ms + (CHECK_EVERY_MS if speaking else WATCH_EVERY_MS)
        look = self._look()
        self._suspected = look is not None and speaking and look.match.likeness >= SUSPECT
        if look is None:
            return
        if self.half_duplex:
            self._watch(look.match, now_ms)
        if speaking and self._is_echo(look.match, now_ms):
            self._confirm(look)

    def read(self, event: TurnEvent) -> TurnEvent:
        """The event, or that what it transcribes is an echo."""
        utterance = self._ports.hearing().open_utterance
        if not isinstance(event, TranscriptArrived) or event.utterance != utterance or not self._applies:
            return event
        look = self._look()
        if look is None or self._speaker_over(look) or not self._is_our_own(event.text, look.match):
            return event
        now_ms = self._ports.hearing().now_ms
        if look.match.likeness >= LIKELY and self._seen_before(now_ms, look.match.lag):
            self._become("half_duplex", look.match)
        self._sign = (now_ms, look.match.lag)
        self._ports.hearing().forget_speech()
        return EchoHeard(event.utterance)

    def take_prompt(self) -> str | None:
        """What to tell the user aloud, if they have not been told."""
        prompt, self.prompt = self.prompt, None
        return prompt

    # --- deciding ---

    @property
    def _applies(self) -> bool:
        return self._ports.options().policy.auto_end

    def _look(self) -> _Look | None:
        """The last of the microphone beside the last that was played, if anything was."""
        playback = self._ports.writer.played_lately(_REACH_MS + self._farther_ms, self._delay.late_ms)
        if playback is None:
            return None
        frames = WINDOW_FRAMES if self._known is None else RECENT_FRAMES
        recent = self._ports.hearing().recent((frames + 1) * FRAME_MS)
        recent = recent[len(recent) % _FRAME :]
        near = band_levels(recent[_FRAME:], HEARING_RATE_HZ, recent[:_FRAME])
        far = playback.levels(len(near) + MAX_LAG_FRAMES + self._farther_ms // FRAME_MS)
        return _Look(match_echo(near, far), near, playback)

    @property
    def _farther_ms(self) -> int:
        """How much longer than any echo's its way may be just now: the agent's voice is played late, too."""
        return self._delay.unsteady_ms

    def _is_our_own(self, text: str, match: EchoMatch) -> bool:
        """Whether words and sound together say so: the surer the one, the less is asked of the other."""
        if match.frames >= ENOUGH_FRAMES and match.likeness < DOUBTFUL:
            return False
        if match.likeness >= (SURE if match.frames >= ENOUGH_FRAMES else SURE_OF_LITTLE):
            return True
        enough = 2 if match.likeness >= LIKELY else MIN_WORDS
        return repeats(text, self._ports.writer.said_lately(), enough)

    def _is_echo(self, match: EchoMatch, now_ms: int) -> bool:
        """Whether this look is the second that says so, at the same lag; one is enough where the echo is known."""
        if match.frames < ENOUGH_FRAMES or match.likeness < LIKELY:
            return False
        if self._known is not None and abs(self._known.lag - match.lag) <= WANDER:
            return True
        if self._seen_before(now_ms, match.lag):
            return True
        if match.likeness >= SURE and (self._sign is None or now_ms - self._sign[0] >= APART_MS):
            self._sign = (now_ms, match.lag)
        return False

    def _seen_before(self, now_ms: int, lag: int) -> bool:
        if self._sign is None or not APART_MS <= now_ms - self._sign[0] <= TOGETHER_MS:
            return False
        return abs(self._sign[1] - lag) <= SAME_LAG

    def _confirm(self, look: _Look) -> None:
        self._become("half_duplex", look.match)
        if self._speaker_over(look):
            return
        utterance = self._ports.hearing().open_utterance
        self._ports.hearing().forget_speech()
        if utterance is not None:
            self._ports.on_event(EchoHeard(utterance))

    def _speaker_over(self, look: _Look) -> bool:
        """Whether somebody speaks over the echo that this would be, or just did."""
        known = self._known or look.match
        gate, last, frames = EchoGate(), -MEANT_FRAMES, len(look.near)
        played = _played_db(look.playback, known.lag, frames)
        for number, (near_db, played_db) in enumerate(zip(look.near, played, strict=True)):
            gate.passes(near_db, played_db, known.gains_db)
            last = number if gate.speaker_above else last
        return frames - last <= MEANT_FRAMES

    def _watch(self, match: EchoMatch, now_ms: int) -> None:
        """Whether the echo that is known is still there."""
        if match.frames < ENOUGH_FRAMES:
            return
        if match.likeness >= LIKELY:
            self._absent_ms = 0
            if self._known is not None and not self._gate.speaker_above:
                self._known = _blended(self._known, match)
            return
        self._absent_ms += self._next_ms - now_ms
        if self._absent_ms >= ABSENT_MS:
            self._become("full_duplex", None)

    def _become(self, duplex: Duplex, known: EchoMatch | None) -> None:
        self._absent_ms = 0
        if duplex == self._duplex:
            return
        self._known = known
        before, self._duplex = self._duplex, duplex
        self._sign, self._open, self._gate = None, True, EchoGate()
        if duplex == "full_duplex":
            self._ports.emit(Degraded(before, duplex, "echo: it is gone"))
            return
        advice = sentences_for(self._ports.options().locale).echo
        self._ports.emit(Degraded(before, duplex, f"echo: {advice}"))
        if not self._prompted:
            self._prompted, self.prompt = True, advice


def _played_db(playback: Played, lag: int, frames: int) -> Levels:
    """For each of the last ``frames``, the loudest that may come back in it."""
    levels = playback.levels(frames + 2 * WANDER, max(0, lag - WANDER))
    return np.max(np.lib.stride_tricks.sliding_window_view(levels, 2 * WANDER + 1, axis=0), axis=2)


def _blended(known: EchoMatch, seen: EchoMatch) -> EchoMatch:
    """What is known, with what was seen: one look alone may have caught somebody else's voice."""
    return replace(seen, gains_db=known.gains_db + np.float32(LEARNING) * (seen.gains_db - known.gains_db))
