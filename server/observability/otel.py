"""Spans to an OpenTelemetry collector: the official SDK's exporter and batching, over OTLP/HTTP with protobuf.

Owns the exporter's thread, its bounded queue and the count of what became of every span. Spans are facts: they are
made whole, from the session's events, once what they tell of is over. Imported only where tracing is on; the
environment is not read here (``server.telemetry_settings``).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.version import __version__ as sdk_version

from server.observability.arrival import Arrival
from server.observability.session_spans import SessionSpans, SpanSink
from server.observability.tracing import Subject
from server.telemetry_settings import TelemetrySettings, pairs
from server.version import __version__

logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 512
CLOSE_LIMIT_S: Final = 5.0


@dataclass(slots=True)
class _Fates:
    """What became of the spans. Written by the loop (made, dropped) and the exporter's thread (the others)."""

    made: int = 0
    dropped: int = 0
    exported: int = 0
    failed: int = 0

    @property
    def waiting(self) -> int:
        return self.made - self.dropped - self.exported - self.failed


class _Counted(SpanExporter):
    """An exporter whose outcomes are counted."""

    def __init__(self, exporter: SpanExporter, fates: _Fates) -> None:
        self._exporter = exporter
        self._fates = fates

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self._fates.exported += len(spans)
            else:
                self._fates.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class OtelTracing:
    """``Tracing`` over OTLP/HTTP."""

    def __init__(
        self,
        settings: TelemetrySettings,
        *,
        transcripts: bool,
        exporter: SpanExporter | None = None,
        epoch_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """``transcripts`` lets what people say into spans. ``exporter`` stands in for the network in benchmarks."""
        self._transcripts = transcripts
        self._epoch_ns = epoch_ns
        self._max_queue = settings.max_queue
        self._sampler = TraceIdRatioBased(settings.sample_ratio)
        self._resource = _resource(settings)
        self._fates = _Fates()
        self._processor = BatchSpanProcessor(
            _Counted(exporter or _exporter(settings), self._fates),
            max_queue_size=settings.max_queue,
            schedule_delay_millis=settings.schedule_delay_s * 1_000,
            max_export_batch_size=MOST_AT_ONCE,
            export_timeout_millis=settings.timeout_s * 1_000,
        )

    def session(self, subject: Subject, arrival: Arrival) -> SessionSpans:
        sink = SpanSink(self._add, self._sampled, self._resource, self._epoch_ns)
        return SessionSpans(sink, subject, arrival, transcripts=self._transcripts and subject.words)

    def counts(self) -> Mapping[str, int]:
        fates = self._fates
        return {"made": fates.made, "exported": fates.exported, "failed": fates.failed, "dropped": fates.dropped}

    async def aclose(self) -> None:
        with anyio.move_on_after(CLOSE_LIMIT_S) as limit:
            await anyio.to_thread.run_sync(self._processor.shutdown, abandon_on_cancel=True)
        if limit.cancelled_caught or self._fates.waiting > 0:
            logger.warning("spans were not sent", extra={"spans": self._fates.waiting})

    def _sampled(self, trace_id: int) -> bool:
        return self._sampler.should_sample(None, trace_id, "").decision.is_sampled()

    def _add(self, span: ReadableSpan) -> None:
        self._fates.made += 1
        if self._fates.waiting > self._max_queue:
            self._fates.dropped += 1
            return
        self._processor.on_end(span)


def _exporter(settings: TelemetrySettings) -> OTLPSpanExporter:
    return OTLPSpanExporter(
        endpoint=settings.endpoint,
        certificate_file=None if settings.certificate is None else str(settings.certificate),
        headers=settings.header_pairs,
        timeout=settings.timeout_s,
        compression=Compression(settings.compression),
    )


def _resource(settings: TelemetrySettings) -> Resource:
    return Resource(
        {
            **pairs(settings.resource_attributes),
            "service.name": settings.service_name,
            "service.version": __version__,
            "service.instance.id": str(uuid.uuid4()),
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
        }
    )
