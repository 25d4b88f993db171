"""One conversation as spans: session, its turns, their stages, and the requests made of engines and tools.

Owns what must be remembered until a span is over. Made of events alone and of the times they carry; the core knows
nothing of it. A turn's span has an id that follows from the turn's, so that requests sent before the turn was certain
already name it. Driven by ``server.observability.session_watch``; makes spans through ``SpanSink``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from agents.events import (
    ContentFiltered,
    Degraded,
    Failed,
    Interrupted,
    ProviderCall,
    Resumed,
    ServerEvent,
    SessionStarted,
    StageLatency,
    TurnCompleted,
    TurnLatency,
    TurnStarted,
)
from server.observability import span_names as names
from server.observability.arrival import Arrival
from server.observability.trace_context import TraceParent
from server.observability.tracing import Subject
from server.version import __version__

MOST_OPEN_TURNS: Final = 64
MOST_EVENTS: Final = 128
"""Of one span; later ones are left out."""
_STAGE_OF: Final[Mapping[str, str]] = {"chat": "agent", "execute_tool": "agent", "text_to_speech": "tts"}
_SCOPE: Final = InstrumentationScope(names.SCOPE, __version__)


@dataclass(frozen=True, slots=True)
class SpanSink:
    """Where spans go, whether a new trace is kept, whose they are, and the wall clock they are dated by."""

    add: Callable[[ReadableSpan], None]
    sampled: Callable[[int], bool]
    resource: Resource
    epoch_ns: Callable[[], int]


@dataclass(slots=True)
class _Turn:
    """A turn under way, in seconds of the monotonic clock."""

    turn_id: str
    source: str
    asked: str
    started_at_s: float
    latency: TurnLatency | None = None
    events: list[Event] = field(default_factory=list[Event])


@dataclass(slots=True)
class _Spell:
    """A stretch of time under a name: what a span is made of."""

    name: str
    start_s: float
    end_s: float
    attributes: names.Attributes
    kind: SpanKind = SpanKind.INTERNAL
    error_code: str | None = None
    events: list[Event] = field(default_factory=list[Event])


class SessionSpans:
    """``SessionTrace`` with OpenTelemetry's spans."""

    def __init__(self, sink: SpanSink, subject: Subject, arrival: Arrival, *, transcripts: bool) -> None:
        self._sink = sink
        self._subject = subject
        self._arrival = arrival
        self._transcripts = transcripts
        self._ids = RandomIdGenerator()
        self._offset_ns = sink.epoch_ns() - _ns(time.monotonic())
        parent = arrival.parent
        trace_id = self._ids.generate_trace_id() if parent is None else int(parent.trace_id, 16)
        self._sampled = sink.sampled(trace_id) if parent is None else parent.sampled
        self._state = TraceState() if parent is None else TraceState.from_header([parent.state])
        self._trace_id = trace_id
        self._context = self._new_context()
        self._turns: dict[str, _Turn] = {}
        self._events: list[Event] = []
        self._error_code: str | None = None
        self._ended = False

    # --- the port ---

    def observe(self, event: ServerEvent) -> None:
        if not self._sampled:
            return
        match event:
            case SessionStarted():
                self._connected()
            case TurnStarted():
                self._begin(event)
            case TurnLatency():
                if (turn := self._turns.get(event.turn_id)) is not None:
                    turn.latency = event
            case TurnCompleted():
                self._complete(event)
            case _:
                self._remark(event)

    def headers(self, turn_id: str) -> Mapping[str, str]:
        trace_id, span_id = f"{self._trace_id:032x}", f"{self._turn_span(turn_id):016x}"
        headers = {"traceparent": TraceParent(trace_id, span_id, self._sampled).header()}
        if self._state:
            headers["tracestate"] = self._state.to_header()
        return headers

    def exemplar(self, turn_id: str | None) -> Mapping[str, str] | None:
        if not self._sampled:
            return None
        span_id = self._context.span_id if turn_id is None else self._turn_span(turn_id)
        return {"trace_id": f"{self._trace_id:032x}", "span_id": f"{span_id:016x}"}

    def end(self, error_code: str | None = None) -> None:
        if self._ended or not self._sampled:
            return
        self._ended = True
        now_s = time.monotonic()
        for turn in list(self._turns.values()):
            self._turn_over(turn, now_s, {"convergio.turn.end": "unfinished"}, error_code or self._error_code)
        attributes = names.session_attributes(self._subject, self._arrival.transport)
        error_code = error_code or self._error_code
        if error_code is not None:
            attributes[names.ERROR_TYPE] = error_code
        spell = _Spell(
            "session", self._arrival.at_s, now_s, attributes, SpanKind.SERVER, error_code, events=self._events
        )
        self._add(spell, self._context, self._remote_parent())

    # --- turns ---

    def _connected(self) -> None:
        spell = _Spell("connect", self._arrival.at_s, time.monotonic(), {"convergio.stage": "connect"})
        self._add(spell, self._new_context(), self._context)

    def _begin(self, event: TurnStarted) -> None:
        if len(self._turns) >= MOST_OPEN_TURNS:
            self._turns.pop(next(iter(self._turns)))
        asked = event.text if self._transcripts else ""
        self._turns[event.turn_id] = _Turn(event.turn_id, event.source, asked, time.monotonic())

    def _complete(self, done: TurnCompleted) -> None:
        turn = self._turns.get(done.turn_id)
        if turn is None:
            return
        attributes = names.outcome_attributes(done)
        if self._transcripts:
            attributes |= names.words_attributes(turn.asked, done.text)
        self._turn_over(turn, time.monotonic(), attributes, done.error_code, done.calls)

    def _turn_over(
        self,
        turn: _Turn,
        now_s: float,
        outcome: names.Attributes,
        error_code: str | None,
        calls: tuple[ProviderCall, ...] = (),
    ) -> None:
        del self._turns[turn.turn_id]
        stages = () if turn.latency is None else turn.latency.stages
        zero_s = turn.started_at_s
        if turn.latency is not None and turn.latency.counted_from_s is not None:
            zero_s = turn.latency.counted_from_s
        context = self._new_context(self._turn_span(turn.turn_id))
        attributes = names.turn_attributes(self._subject, turn.turn_id, turn.source) | outcome
        stage_contexts: dict[str, SpanContext] = {}
        for stage in stages:
            if stage.stage == "total":
                attributes["convergio.latency.total_ms"] = stage.duration_ms
            else:
                stage_contexts[stage.stage] = self._add_stage(stage, turn.turn_id, zero_s, context)
        for call in calls:
            self._add_call(call, stage_contexts.get(_STAGE_OF[call.operation], context))
        start_s = min([zero_s, *(call.started_at_s for call in calls)])
        name = names.turn_name(self._subject)
        self._add(
            _Spell(name, start_s, now_s, attributes, error_code=error_code, events=turn.events), context, self._context
        )

    def _add_stage(self, stage: StageLatency, turn_id: str, zero_s: float, turn: SpanContext) -> SpanContext:
        start_s = zero_s + stage.start_ms / 1_000
        end_s = start_s + stage.duration_ms / 1_000
        context = self._new_context()
        self._add(_Spell(stage.stage, start_s, end_s, names.stage_attributes(stage, turn_id)), context, turn)
        if stage.stage == "stt" and stage.provider is not None:
            attributes = names.recognition_attributes(stage, self._subject)
            spell = _Spell(f"speech_to_text {stage.model or ''}".strip(), start_s, end_s, attributes, SpanKind.CLIENT)
            self._add(spell, self._new_context(), context)
        return context

    def _add_call(self, call: ProviderCall, parent: SpanContext) -> None:
        kind = SpanKind.INTERNAL if call.operation == "execute_tool" else SpanKind.CLIENT
        attributes = names.call_attributes(call, self._subject)
        spell = _Spell(names.call_name(call), call.started_at_s, call.ended_at_s, attributes, kind, call.error_code)
        self._add(spell, self._new_context(), parent)

    def _remark(self, event: ServerEvent) -> None:
        """What is no span of its own."""
        match event:
            case Interrupted():
                self._note("interrupted", event.turn_id, {"heard_ms": event.heard_ms, "held": event.resumable})
            case Resumed():
                self._note("resumed", event.turn_id, {"from_ms": event.from_ms})
            case ContentFiltered():
                self._note("content_filtered", event.turn_id, {"stage": event.stage})
            case Degraded():
                self._note("degraded", None, {"from": event.from_, "to": event.to})
            case Failed():
                self._error_code = event.code if event.turn_id is None else self._error_code
                self._note("error", event.turn_id, {names.ERROR_TYPE: event.code})
            case _:
                pass

    def _note(self, name: str, turn_id: str | None, attributes: names.Attributes) -> None:
        turn = None if turn_id is None else self._turns.get(turn_id)
        events = self._events if turn is None else turn.events
        if len(events) < MOST_EVENTS:
            events.append(Event(name, attributes, self._at(time.monotonic())))

    # --- spans ---

    def _add(self, spell: _Spell, context: SpanContext, parent: SpanContext | None) -> None:
        failed = spell.error_code is not None
        start, end = self._at(spell.start_s), self._at(spell.end_s)
        self._sink.add(
            ReadableSpan(
                name=spell.name,
                context=context,
                parent=parent,
                resource=self._sink.resource,
                attributes=spell.attributes,
                events=tuple(spell.events),
                kind=spell.kind,
                status=Status(StatusCode.ERROR, spell.error_code) if failed else Status(),
                start_time=start,
                end_time=max(start, end),
                instrumentation_scope=_SCOPE,
            )
        )

    def _new_context(self, span_id: int | None = None) -> SpanContext:
        flags = TraceFlags(TraceFlags.SAMPLED if self._sampled else TraceFlags.DEFAULT)
        span_id = self._ids.generate_span_id() if span_id is None else span_id
        return SpanContext(self._trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=self._state)

    def _remote_parent(self) -> SpanContext | None:
        parent = self._arrival.parent
        if parent is None:
            return None
        flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
        return SpanContext(self._trace_id, int(parent.span_id, 16), True, flags, self._state)

    def _turn_span(self, turn_id: str) -> int:
        """The same for the same turn, never zero."""
        digest = hashlib.blake2b(f"{self._subject.session_id}\n{turn_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") or 1

    def _at(self, monotonic_s: float) -> int:
        """Nanoseconds since the epoch, by the session's one reading of both clocks."""
        return self._offset_ns + _ns(monotonic_s)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
