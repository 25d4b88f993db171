"""Metrics: counts and latencies of this server, in a registry of its own, read by ``GET /metrics``.

Sessions are observed from the events they send, so the conversation knows nothing of this. Label values come from
closed sets (stages, transports, codes, routes) or are bounded (providers), never from clients. Prometheus text format,
or OpenMetrics with exemplars for those who ask for it; names after its conventions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from agents.events import (
    AudioQuality,
    ContentFiltered,
    Degraded,
    Failed,
    Interrupted,
    Resumed,
    ServerEvent,
    TurnCompleted,
)
from agents.latency_events import BudgetBreached
from server.observability.label_values import LabelValues

STAGE_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
NO_PROVIDER: Final = "none"
MAX_PROVIDERS: Final = 32
HTTP_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.8, 1.5, 3.0, 10.0, 60.0)


class _Counts(Collector):
    """A counter whose values are somebody else's."""

    def __init__(self, name: str, description: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
        self._name, self._description, self._label, self._read = name, description, label, read

    def collect(self) -> Iterable[Metric]:
        counter = CounterMetricFamily(self._name, self._description, labels=[self._label])
        for value, count in self._read().items():
            counter.add_metric([value], count)
        yield counter


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
            "Time a stage took: of a turn, of connecting, of falling silent when interrupted.",
            ["stage", "provider", "transport"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._providers = LabelValues(MAX_PROVIDERS)
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
        self.breaches = Counter(
            "convergio_latency_breaches",
            "Stages that took longer than their budget, and what was done.",
            ["stage", "action"],
            registry=registry,
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

    def watch_counts(self, name: str, description: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
        """A counter read when the metrics are, by the values of ``label``: for counts that have an owner elsewhere."""
        self._registry.register(_Counts(name, description, label, read))

    def measure(
        self, stage: str, provider: str | None, transport: str, duration_s: float, exemplar: Mapping[str, str] | None
    ) -> None:
        """Note how long a stage took. ``exemplar`` leads to the trace it was measured in."""
        name = NO_PROVIDER if provider is None else self._providers.of(provider)
        labelled = self.stage.labels(stage, name, transport)
        labelled.observe(max(duration_s, 0.0), None if exemplar is None else dict(exemplar))

    def observe(self, event: ServerEvent) -> None:
        """Count what an event of a session says."""
        match event:
            case BudgetBreached():
                self.breaches.labels(event.stage, event.action).inc()
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

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type, as the request's ``Accept`` wants it: text, or OpenMetrics."""
        # The client's words choose between two; the versions and escapings it may name are not followed.
        encode, content_type = choose_encoder(OPENMETRICS if OPENMETRICS.partition(";")[0] in accept else "")
        return encode(self._registry), content_type
