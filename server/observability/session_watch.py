"""What one conversation's events tell the metrics and, where tracing is on, its trace.

Owns what has to be remembered between events: when the user began to speak; and the two stages that no turn measures,
``connect`` and ``barge_in``, with the budget they are held to. Called for every event sent, so what is
frequent returns at once. Knows no tracing library. Driven by ``server.sessions.live`` and ``server.routes.chat``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal

from agents.core.budget import LatencyBudget
from agents.events import AudioOut, Interrupted, ReplyText, ServerEvent, SessionStarted, SpeechStartedHeard
from agents.latency_events import TurnLatency
from agents.models.carried import CARRIED, TURN
from server.conversations.notes import Notes
from server.observability.arrival import Arrival
from server.observability.metrics import Metrics
from server.observability.tracing import SessionTrace
from server.observability.word_log import WordLog


class SessionWatch:
    """One conversation, watched. What only the edge can measure and is later than its ``budget`` (``None``: nothing is)
    is counted, and nothing is done about it."""

    def __init__(
        self,
        metrics: Metrics,
        arrival: Arrival,
        trace: SessionTrace | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        budget: LatencyBudget | None = None,
        notes: Notes | None = None,
    ) -> None:
        """``notes`` keeps what is said; ``None`` where nothing is kept."""
        self.notes = notes
        self.words: WordLog | None = None
        """Logs what is said; ``None`` where nothing is logged."""
        self._metrics = metrics
        self._arrival = arrival
        self._trace = trace
        self._monotonic_s = monotonic_s
        self._budget = budget
        self._onset_s: float | None = None
        self._failed: str | None = None

    def observe(self, event: ServerEvent) -> None:
        """An event was taken to be sent. Audio and text, which are frequent, cost a comparison."""
        if self.notes is not None:
            self.notes.observe(event)
        kind = type(event)
        if kind is AudioOut or kind is ReplyText:
            return
        self._metrics.observe(event)
        if self.words is not None:
            self.words.observe(event)
        match event:
            case TurnLatency():
                exemplar = self._exemplar(event.turn_id)
                for stage in event.stages:
                    self._measure(stage.stage, stage.duration_ms / 1_000, stage.provider, exemplar)
            case SessionStarted():
                self._connected(self._monotonic_s() - self._arrival.at_s)
            case SpeechStartedHeard():
                self._onset_s = self._monotonic_s() - event.ago_ms / 1_000
            case Interrupted():
                self._barge_in(event)
            case _:
                pass
        if self._trace is not None:
            self._trace.observe(event)

    def hold_to(self, budget: LatencyBudget | None) -> None:
        """From now on the conversation has this budget."""
        self._budget = budget

    def carry(self, turn_id: str | None = None) -> None:
        """From now on this task, and what is made in it, carry the trace to the models they ask."""
        if self._trace is not None:
            CARRIED.set(self._trace.headers)
            if turn_id is not None:
                TURN.set(turn_id)

    def end(self, error_code: str | None = None) -> None:
        """The conversation is over."""
        if self.notes is not None:
            self.notes.end()
        if self._trace is not None:
            self._trace.end(error_code)

    def _connected(self, took_s: float) -> None:
        self._measure("connect", took_s, None, self._exemplar(None))
        self._hold("connect", took_s)

    def _barge_in(self, event: Interrupted) -> None:
        """From the onset to here: nothing of the turn's audio leaves after this event, and only speech interrupts."""
        onset_s, self._onset_s = self._onset_s, None
        if onset_s is None:
            return
        took_s = self._monotonic_s() - onset_s
        self._measure("barge_in", took_s, None, self._exemplar(event.turn_id))
        self._hold("barge_in", took_s)

    def _hold(self, stage: Literal["connect", "barge_in"], took_s: float) -> None:
        if self._budget is not None and took_s * 1_000 > self._budget.stages[stage].deadline_ms:
            self._metrics.breaches.labels(stage, "none").inc()

    def _measure(self, stage: str, duration_s: float, provider: str | None, exemplar: Mapping[str, str] | None) -> None:
        self._metrics.measure(stage, provider, self._arrival.transport, duration_s, exemplar)

    def _exemplar(self, turn_id: str | None) -> Mapping[str, str] | None:
        return None if self._trace is None else self._trace.exemplar(turn_id)
