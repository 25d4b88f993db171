"""From samples to turn events: the session's ear.

Owns the session's audio clock (samples heard), the recent past of the stream, the voice-activity detector and the
recognition stream, and decides which audio belongs to which utterance. Every method is a plain call; ``hear`` runs
once per inbound chunk. Knows nothing of turns: the turn machine learns of edges and transcripts by events, and says
when to flush and when an utterance ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from agents.core.sound_meter import SoundMeter
from agents.core.turn_types import (
    SpeechStarted,
    SpeechStopped,
    TranscriptArrived,
    TranscriptCorrected,
    TranscriptFailed,
    TurnEvent,
)
from audio.errors import EngineError
from audio.formats import HEARING_RATE_HZ, PcmChunk, Samples
from audio.quality import QualityMeter
from audio.ring import SampleRing
from audio.stt.port import SttStream, Transcript, TranscriptKind
from audio.vad.port import EdgeKind, SpeechEdge, VadOptions, VoiceActivityDetector

log = logging.getLogger(__name__)

SAMPLES_PER_MS: Final = HEARING_RATE_HZ // 1_000
RECENT_MS: Final = 8_000
"""How much of the stream is kept: what an end-of-turn model hears, and more than any pre-roll."""
SHORTEST_TURN_MS: Final = 250
SHORTEST_COMMIT_MS: Final = 100
"""What a client commits by hand is at least this long, as other realtime servers have it."""
QUIET_DBFS: Final = -55.0
OPENING_MS: Final = 160
"""What passes before it is plain that a voice is to be admitted belongs to it."""


@dataclass(frozen=True, slots=True)
class HearingPorts:
    """Where what is heard goes. ``on_correction`` gets better transcripts of utterances that are over;
    ``on_vad_failure`` is called once, when voice activity can no longer be told. ``admits`` says whether voice
    activity is looked for in what comes next, or it counts as silence; ``affords``, whether so many samples may be
    handed to recognition. ``meter`` counts speech."""

    on_event: Callable[[TurnEvent], None]
    on_transcript: Callable[[Transcript], None]
    on_correction: Callable[[Transcript], None]
    on_vad_failure: Callable[[Exception], None]
    admits: Callable[[Samples], bool] = lambda _: True
    affords: Callable[[int], bool] = lambda _: True
    meter: SoundMeter = field(default_factory=SoundMeter)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the client committed by hand: an utterance and its samples."""

    utterance: int
    start_sample: int
    end_sample: int

    @property
    def start_ms(self) -> int:
        return self.start_sample // SAMPLES_PER_MS

    @property
    def end_ms(self) -> int:
        return self.end_sample // SAMPLES_PER_MS


class Hearing:
    """The ear of one session. Times are whole ms of audio heard so far."""

    def __init__(
        self,
        detector: VoiceActivityDetector | None,
        ports: HearingPorts,
        options: VadOptions,
        *,
        hands_free: bool = True,
    ) -> None:
        """``hands_free`` false: no voice activity is looked for, and all audio belongs to one utterance until it is
        sealed or cleared."""
        self._hands_free = hands_free
        self._sealed: int | None = None
        self._next_start = 0
        self._detector = detector
        self._ports = ports
        self._prefix_samples = options.prefix_padding_ms * SAMPLES_PER_MS
        self._ring = SampleRing(RECENT_MS * SAMPLES_PER_MS)
        self.quality = QualityMeter()
        self._stream: SttStream | None = None
        self._heard_samples = 0
        self._utterance: int | None = None
        self._last_utterance = 0
        self._utterance_start = 0
        self._free_from_sample = 0
        self._recognised_samples = 0
        self._speaking = False
        self._shut_until = 0

    @property
    def now_ms(self) -> int:
        """Audio heard so far."""
        return self._heard_samples // SAMPLES_PER_MS

    @property
    def can_tell_speech(self) -> bool:
        """Whether there is voice activity to go by; without, only the client can end a turn."""
        return self._detector is not None and self._hands_free

    @property
    def open_utterance(self) -> int | None:
        """The utterance that is being heard."""
        return self._utterance

    @property
    def speaking(self) -> bool:
        """Whether there is voice activity just now."""
        return self._speaking

    @property
    def undecided(self) -> bool:
        """Whether voice activity is about to change, perhaps: a bad moment for decisions."""
        return self._detector is not None and self._hands_free and self._detector.undecided

    def attach(self, stream: SttStream | None) -> None:
        """Recognise with this stream from now on, an utterance already begun included."""
        self._stream = stream
        if stream is not None and self._utterance is not None:
            self._recognise_from(self._utterance, self._utterance_start)

    def update(self, options: VadOptions, *, hands_free: bool = True) -> None:
        """Take new voice-activity options from the next chunk on. An utterance that is open stays so."""
        self._prefix_samples = options.prefix_padding_ms * SAMPLES_PER_MS
        if self._detector is not None:
            self._detector.update(options)
            if hands_free and not self._hands_free:
                self._detector.reset()
        if hands_free != self._hands_free:
            self._ports.meter.speech_ended(self._heard_samples)
        self._hands_free = hands_free

    def hear(self, samples: Samples) -> None:
        """The next 16 kHz samples of the stream."""
        chunk = PcmChunk(samples, self._heard_samples)
        self._heard_samples = chunk.end_sample
        self._ring.append(chunk)
        self.quality.push(samples, speech=self._speaking)
        if not self._hands_free and self._utterance is None and len(samples):
            self._open(self._free_from_sample)
            return
        was_open = self._utterance is not None
        edges = self._detect(chunk) if self._hands_free else ()
        if was_open and self._utterance is not None and self._sealed is None:
            self._recognise(chunk)
        for edge in edges:
            self._on_edge(edge)

    def stalled(self) -> None:
        """Audio has stopped coming: speech that ran has paused."""
        if self._speaking and self._detector is not None:
            self._detector.reset()
            self._silent_from(self._heard_samples)
            if self._utterance is not None:
                self._ports.on_event(SpeechStopped(self._utterance, self.now_ms))

    def forget_speech(self) -> None:
        """The voice that sounds just now is nobody's: what comes next is told anew."""
        if self._detector is not None:
            self._detector.reset()
        self._silent_from(self._heard_samples)
        self._shut_until = self._heard_samples

    def flush(self, utterance: int, through_ms: int) -> None:
        """Ask recognition for all that was said up to the end of speech (an engine may well have that by now)."""
        if self._stream is not None and utterance == self._utterance:
            self._stream.flush(utterance, through_ms * SAMPLES_PER_MS)
        else:
            self._ports.on_event(TranscriptFailed(utterance))

    def end(self, utterance: int) -> None:
        """The utterance is over; the next speech opens another."""
        if utterance != self._utterance:
            return
        self._utterance = None
        self._free_from_sample = self._heard_samples if self._sealed is None else self._next_start
        self._sealed = None
        if self._stream is not None:
            self._stream.end(utterance)

    def commit(self) -> int | None:
        """The utterance a push-to-talk commit means: the open one, or all that was heard since the last one.

        ``None`` where there is nothing but silence.
        """
        if self._utterance is not None:
            return self._utterance
        recent = self._ring.read(self._free_from_sample, self._heard_samples)
        if len(recent.samples) < SHORTEST_TURN_MS * SAMPLES_PER_MS or _level_dbfs(recent.samples) < QUIET_DBFS:
            return None
        return self._open(recent.start_sample)

    def seal(self) -> Recorded | None:
        """No more audio belongs to what was heard since the last seal; ``None`` where that is too short.

        The first one sealed is being recognised already; those after it wait for ``take_up``.
        """
        if self._utterance is None and self._heard_samples > self._free_from_sample:
            self._open(self._free_from_sample)  # heard while another was recognised, and nothing since
        start = self._utterance_start if self._sealed is None else self._next_start
        if self._utterance is None or self._heard_samples - start < SHORTEST_COMMIT_MS * SAMPLES_PER_MS:
            return None
        utterance = self._utterance
        if self._sealed is None:
            self._sealed = self._heard_samples
        else:
            self._last_utterance += 1
            utterance = self._last_utterance
        self._next_start = self._heard_samples
        return Recorded(utterance, start, self._heard_samples)

    def take_up(self, recorded: Recorded) -> None:
        """Recognise what was sealed while another utterance was being recognised (at most the last eight seconds)."""
        self._utterance, self._utterance_start = recorded.utterance, recorded.start_sample
        self._sealed = recorded.end_sample
        audio = self._ring.read(recorded.start_sample, recorded.end_sample)
        if self._stream is not None:
            self._stream.begin(recorded.utterance, audio.start_sample)
        self._recognise(audio)

    def is_silent(self, recorded: Recorded) -> bool:
        """Whether it holds nothing anybody could have said."""
        samples = self._ring.read(recorded.start_sample, recorded.end_sample).samples
        covered = len(samples) == recorded.end_sample - recorded.start_sample
        return covered and _level_dbfs(samples) < QUIET_DBFS

    def clear(self) -> int | None:
        """Forget what was heard and not sealed; the utterance that was open for it, if any."""
        if self._sealed is not None:
            self._next_start = self._heard_samples
            return None
        self._free_from_sample = self._heard_samples
        self.forget_speech()
        return self._utterance

    def recent(self, ms: int = RECENT_MS) -> Samples:
        """The last audio heard, oldest first."""
        return self._ring.read(self._heard_samples - ms * SAMPLES_PER_MS, self._heard_samples).samples

    def close(self) -> None:
        """Nothing more will be heard: speech that runs ends here."""
        self._ports.meter.speech_ended(self._heard_samples)

    def recognised_elsewhere(self, samples: int) -> None:
        """So many samples were handed to speech-to-text beside what is heard here."""
        self._recognised_samples += samples

    def take_recognised_ms(self) -> int:
        """Audio handed to speech-to-text since this was last asked; what is less than 1 ms stays for the next time."""
        taken_ms, self._recognised_samples = divmod(self._recognised_samples, SAMPLES_PER_MS)
        return taken_ms

    def on_transcript(self, transcript: Transcript) -> None:
        """Recognition reports; called by the recognition stream."""
        if transcript.utterance_id != self._utterance:
            if transcript.kind is TranscriptKind.CORRECTED:
                self._ports.on_correction(transcript)
                corrected = TranscriptCorrected(transcript.utterance_id, transcript.text, self.now_ms)
                self._ports.on_event(corrected)
            return
        flushed = transcript.kind is not TranscriptKind.PARTIAL
        self._ports.on_transcript(transcript)
        through_ms = transcript.through_sample // SAMPLES_PER_MS
        event = TranscriptArrived(transcript.utterance_id, transcript.text, flushed, through_ms, self.now_ms)
        self._ports.on_event(replace(event, confidence=transcript.confidence))

    def on_stt_failure(self, utterance: int, error: EngineError) -> None:
        """Recognition failed; called by the recognition stream."""
        log.warning("speech recognition failed", extra={"provider": error.provider, "reason": str(error)})
        self._ports.on_event(TranscriptFailed(utterance))

    def _detect(self, chunk: PcmChunk) -> tuple[SpeechEdge, ...]:
        if self._detector is None:
            return ()
        if not self._ports.admits(chunk.samples):
            self._shut_until = max(0, chunk.end_sample - OPENING_MS * SAMPLES_PER_MS)
            chunk = PcmChunk(np.zeros_like(chunk.samples), chunk.start_sample)
        try:
            return tuple(self._detector.process(chunk))
        except Exception as error:  # noqa: BLE001 - whatever a native detector raises, hearing goes on without it
            self._detector = None
            self._ports.meter.speech_ended(chunk.start_sample)
            self._ports.on_vad_failure(error)
            return ()

    def _on_edge(self, edge: SpeechEdge) -> None:
        at_ms = edge.sample // SAMPLES_PER_MS
        match edge.kind:
            case EdgeKind.STARTED:
                self._speaking = True
                self._ports.meter.speech_began(edge.sample)
                if self._utterance is None:
                    free_from = max(self._free_from_sample, self._shut_until)
                    self._open(max(edge.sample - self._prefix_samples, free_from))
                assert self._utterance is not None
                self._ports.on_event(SpeechStarted(self._utterance, at_ms))
            case EdgeKind.STOPPED:
                self._silent_from(edge.sample)
                if self._utterance is not None:
                    self._ports.on_event(SpeechStopped(self._utterance, at_ms))

    def _silent_from(self, sample: int) -> None:
        self._speaking = False
        self._ports.meter.speech_ended(sample)

    def _open(self, start_sample: int) -> int:
        self._last_utterance += 1
        self._utterance = self._last_utterance
        self._utterance_start = start_sample
        self._recognise_from(self._utterance, start_sample)
        return self._utterance

    def _recognise_from(self, utterance: int, start_sample: int) -> None:
        audio = self._ring.read(start_sample, self._heard_samples)
        if self._stream is not None:
            self._stream.begin(utterance, audio.start_sample)
        self._recognise(audio)

    def _recognise(self, chunk: PcmChunk) -> None:
        if self._stream is not None and self._ports.affords(len(chunk.samples)):
            self._recognised_samples += len(chunk.samples)
            self._stream.push(chunk)


def _level_dbfs(samples: Samples) -> float:
    meter = QualityMeter()
    meter.push(samples)
    return meter.snapshot().rms_dbfs
