"""One recognizer as a session uses it: warm from the pool, started, fed, flushed, retired.

Owns a recognizer from the moment it is asked for until it is given back, what it was sent, and the watchdogs on its
connection. Lives on the event loop and returns at once; what blocks is handed to the worker threads. Knows utterances
only as audio. Driven by ``audio.stt.azure.AzureStream``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from audio.azure.errors import from_cancellation, timed_out, unavailable
from audio.azure.pool import WarmPool
from audio.azure.settings import AzureSttSettings
from audio.errors import EngineError
from audio.formats import HEARING_RATE_HZ, Samples, ms_to_samples
from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority
from audio.stt.azure_events import (
    Canceled,
    Connected,
    Detected,
    Disconnected,
    Recognized,
    RecognizerEvent,
    Stopped,
)
from audio.stt.azure_recognizer import AzureRecognizer
from audio.stt.sent_audio import SentAudio

_START_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class EarPorts:
    """What an ear needs, and whom it tells: of words, and that it is lost (once)."""

    pool: WarmPool[AzureRecognizer]
    workers: InferencePool
    settings: AzureSttSettings
    phrases: tuple[str, ...]
    now_s: Callable[[], float]


class Ear:
    """See the module."""

    def __init__(
        self,
        ports: EarPorts,
        on_words: Callable[[Ear, Recognized], None],
        on_lost: Callable[[Ear, EngineError], None],
    ) -> None:
        self._ports = ports
        self._on_words = on_words
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._recognizer: AzureRecognizer | None = None
        self._waiting: list[bytes] | None = []
        self._cancel_order: Callable[[], None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._stop_watch: asyncio.TimerHandle | None = None
        self._owes_tail = False
        self._pending_commit = False
        self._commits_known = False
        self._retired = False
        self._gone = False
        self.connected = False
        self.commit_token = 0
        """Of the last commit: a final that carries it covers everything sent before."""
        self.sent = SentAudio()
        self.since_s = self.used_s = ports.now_s()
        self.heard_at_sent = 0
        self.answered = False
        """Whether the service ever said anything."""
        taken = ports.pool.take()
        if taken is None:
            self._cancel_order = ports.pool.order(self._take, self._lose)
        else:
            self._take(taken)
        limit_s = ports.settings.limits.connect_s
        self._watch = self._loop.call_later(limit_s, self._not_connected, limit_s)

    @property
    def is_usable(self) -> bool:
        """Whether new audio may go to it."""
        healthy = self._recognizer is None or self._recognizer.is_healthy
        return healthy and not self._retired and not self._gone

    def is_due(self) -> bool:
        """Whether, at a turn's boundary, another should take over: its session ends soon, or it idled too long."""
        limits, now_s = self._ports.settings.limits, self._ports.now_s()
        is_old = now_s - self.since_s >= limits.session_s - limits.session_margin_s
        return is_old or now_s - self.used_s >= limits.idle_s or not self.is_usable

    def write(self, session_start: int, samples: Samples) -> None:
        """Session audio."""
        if not len(samples):
            return
        self.sent.add(session_start, len(samples))
        self._owes_tail = True
        self.used_s = self._ports.now_s()
        self._write(samples.tobytes())

    def conclude(self) -> None:
        """Have the service end the phrase: an inline commit, and silence longer than it waits for, all at once.

        Nothing, where that was done and no audio followed.
        """
        if not self._owes_tail:
            return
        self._owes_tail = False
        settings = self._ports.settings
        if settings.commit:
            if self._recognizer is None or self._waiting is not None:
                self._pending_commit = True
            else:
                self.commit_token = self._recognizer.commit()
        tail = 0 if self._commits_known else ms_to_samples(settings.tail_ms, HEARING_RATE_HZ)
        if tail:
            self.sent.add_silence(tail)
            self._write(np.zeros(tail, np.int16).tobytes())

    def retire(self) -> None:
        """No more audio: let its last words come, then release it."""
        if self._retired or self._gone:
            return
        self._retired = True
        self._stop_watching()
        if self._recognizer is None:
            self.drop()
            return
        limit_s = self._ports.settings.limits.stop_s
        self._stop_watch = self._loop.call_later(limit_s, self.drop)
        self._submit(self._recognizer.finish, limit_s, self.drop)

    def drop(self) -> None:
        """Release it now; nothing is heard of it any more."""
        if self._gone:
            return
        self._gone = True
        self._stop_watching()
        if self._cancel_order is not None:
            self._cancel_order()
            self._cancel_order = None
        if self._recognizer is not None:
            self._recognizer.connect(None)
            self._ports.pool.discard(self._recognizer)
            self._recognizer = None
        self._waiting = None

    # --- its life ---

    def _take(self, recognizer: AzureRecognizer) -> None:
        self._cancel_order = None
        if self._gone:
            self._ports.pool.discard(recognizer)
            return
        self._recognizer = recognizer
        self.since_s = recognizer.since_s
        recognizer.connect(self._hear)
        phrases = self._ports.phrases
        self._submit(lambda: recognizer.start(phrases), _START_LIMIT_S, self._not_started)
        waiting, self._waiting = self._waiting or [], None
        for pcm in waiting:
            recognizer.write(pcm)
        if self._pending_commit:
            self.commit_token = recognizer.commit()

    def _submit(self, blocking: Callable[[], None], limit_s: float, failed: Callable[[], None]) -> None:
        try:
            done = self._ports.workers.submit(blocking, priority=Priority.URGENT, limit_s=limit_s)
        except (PoolBusy, PoolClosed):
            self._loop.call_soon(failed)
            return
        done.add_done_callback(lambda future: None if _is_fine(future) else failed())

    def _not_started(self) -> None:
        self._lose(unavailable("recognition did not start", "stt"))

    def _not_connected(self, limit_s: float) -> None:
        self._watch = None
        self._lose(timed_out("no connection", limit_s, "stt"))

    def _write(self, pcm: bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(pcm)
        elif self._recognizer is not None:
            self._recognizer.write(pcm)

    def _hear(self, event: RecognizerEvent) -> None:
        match event:
            case Connected():
                self._is_connected()
            case Disconnected():
                self.connected = False  # the SDK tries again; what it does not say, our watchdogs will
            case Detected():
                self._said_something()
            case Recognized():
                self._said_something()
                self._commits_known = self._commits_known or event.commit_token > 0
                self._on_words(self, event)
            case Canceled("NoError"):
                self._ended()
            case Canceled(code, details):
                self._lose(from_cancellation(code, details, "stt"))
            case Stopped():
                self._ended()

    def _is_connected(self) -> None:
        self.connected = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _said_something(self) -> None:
        self._is_connected()
        self.answered = True
        self.heard_at_sent = self.sent.speech_sent

    def _ended(self) -> None:
        if self._retired:
            self.drop()
        else:
            self._lose(unavailable("recognition ended by itself", "stt"))

    def _lose(self, error: EngineError) -> None:
        if self._gone:
            return
        retired = self._retired
        self.drop()
        if not retired:
            self._on_lost(self, error)

    def _stop_watching(self) -> None:
        for timer in (self._watch, self._stop_watch):
            if timer is not None:
                timer.cancel()
        self._watch = self._stop_watch = None


def _is_fine(future: asyncio.Future[None]) -> bool:
    return not future.cancelled() and future.exception() is None
