"""Metrics: counts and latencies of this server, in a registry of its own, read by ``GET /metrics``.

Sessions are observed from the events they send, so the conversation knows nothing of this. Label values come from
closed sets (stages, codes, routes), never from clients. Prometheus text format, names after its conventions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agents.events import (
    AudioQuality,
    ContentFiltered,
    Degraded,
    Failed,
    Interrupted,
    Resumed,
    ServerEvent,
    TurnCompleted,
    TurnLatency,
)

STAGE_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
HTTP_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.8, 1.5, 3.0, 10.0, 60.0)


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.sessions_open = Gauge("convergio_sessions_open", "Sessions running, attached or not.", registry=registry)
        self.sessions_detached = Gauge(
            "convergio_sessions_detached", "Sessions waiting for their client to come back.", registry=registry
        )
        self.sessions = Counter("convergio_sessions", "Sessions started.", ["kind"], registry=registry)
        self.resumes = Counter("convergio_resumes", "Attempts to resume a session.", ["outcome"], registry=registry)
        self.turns = Counter("convergio_turns", "Turns completed.", ["outcome"], registry=registry)
        self.stage = Histogram(
            "convergio_turn_stage_seconds",
            "Time a stage of a turn took.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.barge_ins = Counter("convergio_barge_ins", "Replies the user interrupted.", ["kind"], registry=registry)
        self.errors = Counter("convergio_errors", "Errors told to clients.", ["code"], registry=registry)
        self.degradations = Counter(
            "convergio_degradations", "Times something gave way to something lesser.", registry=registry
        )
        self.filtered = Counter(
            "convergio_content_filtered", "Answers a provider's content filter refused.", ["stage"], registry=registry
        )
        self.microphone = Counter(
            "convergio_microphone_issues", "Microphone problems announced.", ["issue"], registry=registry
        )
        self.connections_cut = Counter(
            "convergio_connections_cut", "Connections the server ended.", ["reason"], registry=registry
        )
        self.rtc_connections = Counter(
            "convergio_webrtc_connections", "WebRTC connections that ended, and how.", ["reason"], registry=registry
        )
        self.rtc_packets = Counter(
            "convergio_webrtc_packets", "Media packets of ended connections.", ["fate"], registry=registry
        )
        self.replay_dropped = Counter(
            "convergio_replay_dropped_events", "Events too old to be kept for a resume.", registry=registry
        )
        self.http = Histogram(
            "convergio_http_request_seconds",
            "Time to answer an HTTP request (to the first byte).",
            ["route", "status"],
            buckets=HTTP_BUCKETS_S,
            registry=registry,
        )
        self.loop_lag = Histogram(
            "convergio_event_loop_lag_seconds",
            "How late a timer of the event loop fires.",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
            registry=registry,
        )

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A gauge read when the metrics are: for values that have an owner elsewhere."""
        Gauge(name, description, registry=self._registry).set_function(read)

    def observe(self, event: ServerEvent) -> None:
        """Count what an event of a session says. Called for every event sent; audio costs one failed match."""
        match event:
            case TurnLatency():
                for stage in event.stages:
                    self.stage.labels(stage.stage).observe(max(stage.duration_ms, 0.0) / 1_000)
            case TurnCompleted():
                failed = "failed" if event.error_code else "completed"
                self.turns.labels("interrupted" if event.interrupted else failed).inc()
            case Interrupted():
                self.barge_ins.labels("held" if event.resumable else "final").inc()
            case Resumed():
                self.barge_ins.labels("false_alarm").inc()
            case Failed():
                self.errors.labels(event.code).inc()
            case Degraded():
                self.degradations.inc()
            case ContentFiltered():
                self.filtered.labels(event.stage).inc()
            case AudioQuality():
                self.microphone.labels(event.issue).inc()
            case _:
                pass

    def render(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
