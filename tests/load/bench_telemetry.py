"""What watching costs on the hot path: microseconds of CPU per frame and per turn, with tracing off and on.

``python tests/load/bench_telemetry.py``. The events are those of a spoken turn, given to the session's watch as the
server gives them; the exporter's network is left out (it has a thread of its own), its queue and batching are not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from agents.events import (
    AudioOut,
    ProviderCall,
    ServerEvent,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    StageLatency,
    TranscriptUpdated,
    TurnCompleted,
    TurnLatency,
    TurnStarted,
    TurnUsage,
)
from server.observability.arrival import Arrival
from server.observability.metrics import Metrics
from server.observability.otel import OtelTracing
from server.observability.session_watch import SessionWatch
from server.observability.tracing import Subject
from server.telemetry_settings import TelemetrySettings

ROUNDS = 2_000
SUBJECT = Subject("ses_bench", "default", "Convergio", "local")


class Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def turn_events(number: int) -> tuple[ServerEvent, ...]:
    """A spoken turn of three phrases, its audio apart."""
    turn_id, now_s = f"turn_{number}", time.monotonic()
    stages = tuple(
        StageLatency(stage, 0.0, 120.0, "azure", "model")  # type: ignore[arg-type]
        for stage in ("endpoint", "stt", "agent", "tts", "egress", "total")
    )
    calls = (
        ProviderCall("chat", "azure_openai", "gpt", now_s - 0.4, now_s, now_s - 0.3, finish_reason="stop"),
        *(ProviderCall("text_to_speech", "azure", "ava", now_s - 0.3, now_s, now_s - 0.2) for _ in range(3)),
    )
    return (
        SpeechStartedHeard(number, 0, 60),
        SpeechStoppedHeard(number, 900),
        TranscriptUpdated(number, "Go forward", True, 0, 900, turn_id),
        TurnStarted(turn_id, "Go forward", "speech"),
        TurnLatency(turn_id, stages, now_s - 0.5),
        TurnCompleted(turn_id, "Going forward.", False, TurnUsage(10, 4), calls=calls),
    )


def microseconds(work: Callable[[int], None], rounds: int = ROUNDS) -> float:
    """Of CPU per call: the median of five runs."""
    runs: list[float] = []
    for _ in range(5):
        began_s = time.thread_time()
        for number in range(rounds):
            work(number)
        runs.append((time.thread_time() - began_s) / rounds * 1e6)
    return statistics.median(runs)


def measure(name: str, watch: SessionWatch) -> None:
    frame = AudioOut("turn_1", np.zeros(480, np.int16), 24_000, 0)
    turns = [turn_events(number) for number in range(ROUNDS)]

    def one_turn(number: int) -> None:
        for event in turns[number]:
            watch.observe(event)

    per_frame = microseconds(lambda _: watch.observe(frame), 50_000)
    print(f"{name:12} {per_frame:8.2f} us per frame {microseconds(one_turn):8.1f} us per turn")


def main() -> None:
    measure("off", SessionWatch(Metrics(), Arrival("websocket")))
    for name, ratio in (("not sampled", 0.0), ("on", 1.0)):
        tracing = OtelTracing(
            TelemetrySettings(sample_ratio=ratio, max_queue=65_536), transcripts=False, exporter=Nowhere()
        )
        trace = tracing.session(SUBJECT, Arrival("websocket"))
        measure(name, SessionWatch(Metrics(), Arrival("websocket"), trace))
        print(f"{'':12} {dict(tracing.counts())}")


if __name__ == "__main__":
    main()
