"""What becomes of spans: counted, bounded, and never in a conversation's way."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from agents.events import ContentFiltered, ProviderCall, TurnCompleted, TurnStarted
from agents.latency_events import BudgetBreached, StageLatency, TurnLatency
from server.observability.arrival import Arrival
from server.observability.otel import OtelTracing
from server.observability.session_spans import MOST_OPEN_TURNS, SessionSpans
from server.observability.trace_context import TraceParent
from server.observability.tracing import Subject
from server.telemetry_settings import TelemetrySettings

SUBJECT = Subject("ses_1", "default", "Ada", "local")
SETTINGS = TelemetrySettings(max_queue=512, schedule_delay_s=0.05)


class Kept(SpanExporter):
    """Keeps what it is given; held up while ``gate`` is closed."""

    def __init__(self, *, open_: bool = True) -> None:
        self.spans: list[ReadableSpan] = []
        self.gate = threading.Event()
        if open_:
            self.gate.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.gate.wait(30)
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS


def begun(tracing: OtelTracing, parent: TraceParent | None = None) -> SessionSpans:
    return tracing.session(SUBJECT, Arrival("websocket", parent))


async def test_a_collector_that_stalls_costs_spans_not_memory_and_they_are_counted() -> None:
    exporter = Kept(open_=False)
    tracing = OtelTracing(SETTINGS, transcripts=False, exporter=exporter)
    for _ in range(600):
        begun(tracing).end()
    counts = dict(tracing.counts())
    assert counts == {"made": 600, "exported": 0, "failed": 0, "dropped": 88}
    exporter.gate.set()
    await tracing.aclose()
    assert tracing.counts()["exported"] == len(exporter.spans) == 512


async def test_closing_does_not_wait_for_a_collector_that_never_answers() -> None:
    exporter = Kept(open_=False)
    tracing = OtelTracing(SETTINGS, transcripts=False, exporter=exporter)
    begun(tracing).end()
    with anyio.fail_after(20):
        await tracing.aclose()
    assert exporter.spans == []
    exporter.gate.set()


async def test_turns_nobody_ended_end_with_the_session_and_few_are_kept_open() -> None:
    exporter = Kept()
    tracing = OtelTracing(SETTINGS, transcripts=False, exporter=exporter)
    trace = begun(tracing)
    for number in range(MOST_OPEN_TURNS + 5):
        trace.observe(TurnStarted(f"turn_{number}", "x", "text"))
    trace.end("internal")
    trace.end()  # once
    await tracing.aclose()
    turns = [span for span in exporter.spans if span.name == "invoke_agent Ada"]
    assert len(turns) == MOST_OPEN_TURNS
    assert {(span.attributes or {})["convergio.turn.end"] for span in turns} == {"unfinished"}
    assert sum(span.name == "session" for span in exporter.spans) == 1


async def test_a_refusal_by_a_content_filter_is_an_event_of_its_turn() -> None:
    exporter = Kept()
    tracing = OtelTracing(SETTINGS, transcripts=False, exporter=exporter)
    trace = begun(tracing)
    trace.observe(TurnStarted("turn_1", "x", "text"))
    trace.observe(ContentFiltered("turn_1", "completion"))
    trace.observe(TurnCompleted("turn_1", "No.", False, end="filtered"))
    await tracing.aclose()
    (turn,) = exporter.spans
    assert [(event.name, dict(event.attributes or {})) for event in turn.events] == [
        ("content_filtered", {"stage": "completion"})
    ]
    assert (turn.attributes or {})["convergio.turn.end"] == "filtered"


@pytest.mark.parametrize("words", [True, False])
async def test_what_is_said_stands_in_no_span_of_a_tenant_that_is_protected(words: bool) -> None:
    exporter = Kept()
    tracing = OtelTracing(SETTINGS, transcripts=True, exporter=exporter)
    trace = tracing.session(replace(SUBJECT, words=words), Arrival("websocket"))
    trace.observe(TurnStarted("turn_1", "asked by a pupil", "text"))
    trace.observe(TurnCompleted("turn_1", "an answer to a pupil", False))
    trace.end()
    await tracing.aclose()
    told = " ".join(str(dict(span.attributes or {})) for span in exporter.spans)
    assert ("asked by a pupil" in told, "an answer to a pupil" in told) == (words, words)


async def test_a_late_stage_says_in_its_span_what_was_done_about_it() -> None:
    exporter = Kept()
    tracing = OtelTracing(SETTINGS, transcripts=False, exporter=exporter)
    trace = begun(tracing)
    stage = StageLatency("agent", 0.0, 1_504.0, "embedded", "llama", 300, 1_500)
    breach = BudgetBreached("turn_1", "agent", "filler", 1_500, 1_501)
    trace.observe(TurnStarted("turn_1", "x", "speech"))
    trace.observe(breach)
    trace.observe(TurnLatency("turn_1", (stage,), anyio.current_time() - 2.0, (breach,)))
    trace.observe(TurnCompleted("turn_1", "y", False))
    await tracing.aclose()
    spans = {span.name: span for span in exporter.spans}
    attributes = spans["agent"].attributes or {}
    limits = {name: attributes[f"convergio.latency.{name}"] for name in ("target_ms", "deadline_ms", "breach")}
    assert limits == {"target_ms": 300, "deadline_ms": 1_500, "breach": "filler"}
    [noted] = spans["invoke_agent Ada"].events
    assert (noted.name, (noted.attributes or {})["after_ms"]) == ("latency_breach", 1_501)


async def test_spans_are_dated_by_the_moments_of_the_events() -> None:
    exporter = Kept()
    tracing = OtelTracing(SETTINGS, transcripts=False, exporter=exporter, epoch_ns=lambda: 1_000_000_000_000)
    trace = begun(tracing, TraceParent("a" * 32, "b" * 16, sampled=True))
    now_s = anyio.current_time()
    call = ProviderCall("chat", "azure_openai", "gpt", now_s - 0.9, now_s, end="stopped")
    stages = (StageLatency("agent", 200.0, 300.0, "azure_openai", "gpt"), StageLatency("total", 0.0, 800.0))
    trace.observe(TurnStarted("turn_1", "x", "speech"))
    trace.observe(TurnLatency("turn_1", stages, now_s - 0.8))
    trace.observe(TurnCompleted("turn_1", "y", True, end="interrupted", calls=(call,)))
    await tracing.aclose()
    spans = {span.name: span for span in exporter.spans}
    turn, agent, chat = spans["invoke_agent Ada"], spans["agent"], spans["chat gpt"]
    assert all(span.start_time and span.end_time for span in spans.values())
    assert (agent.end_time or 0) - (agent.start_time or 0) == 300_000_000
    assert abs((agent.start_time or 0) - (turn.start_time or 0) - 300_000_000) < 1_000_000  # the draft began first
    assert turn.start_time == chat.start_time
    assert (chat.attributes or {})["gen_ai.provider.name"] == "azure.ai.openai"
    assert (chat.attributes or {})["convergio.call.end"] == "stopped"
    assert (turn.attributes or {})["convergio.latency.total_ms"] == 800.0
    assert trace.headers("turn_1")["traceparent"] == f"00-{'a' * 32}-{turn.context.span_id:016x}-01"
