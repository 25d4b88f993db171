"""A collector for tests: OTLP/HTTP in a process of its own, decoded with the official protobuf classes.

``python otlp_receiver.py`` prints its port. ``GET /received`` tells, as JSON, every span it was sent and the headers of
every request.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Received:
    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(inner) for inner in value.array_value.values]
    return getattr(value, kind)


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in pairs}


def spans_of(body: bytes) -> Iterator[dict[str, Any]]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "name": span.name,
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "state": span.trace_state,
                    "kind": span.kind,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "attributes": attributes(span.attributes),
                    "events": [{"name": e.name, "attributes": attributes(e.attributes)} for e in span.events],
                    "error": span.status.message if span.status.code == 2 else None,
                    "resource": attributes(resource.resource.attributes),
                    "scope": scope.scope.name,
                }


def handler_of(received: Received) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.headers.append({name.lower(): value for name, value in self.headers.items()})
            received.spans.extend(spans_of(body))
            self.answer(ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")

        def do_GET(self) -> None:
            told = {"spans": received.spans, "headers": received.headers}
            self.answer(json.dumps(told).encode(), "application/json")

        def answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    return Handler


@dataclass(frozen=True)
class Collector:
    """The receiver's process, as a test sees it."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def received(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/received", timeout=10) as answer:
            return dict(json.loads(answer.read()))

    def spans(self, until: Callable[[list[dict[str, Any]]], object], within_s: float = 20.0) -> list[dict[str, Any]]:
        """All spans, once they satisfy ``until``."""
        limit_s = time.monotonic() + within_s
        while time.monotonic() < limit_s:
            spans = self.received()["spans"]
            if until(spans):
                return spans
            time.sleep(0.05)
        raise AssertionError(f"the spans did not come: {[span['name'] for span in self.received()['spans']]}")


@contextmanager
def collector() -> Iterator[Collector]:
    """The receiver, in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Collector(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(Received()))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
