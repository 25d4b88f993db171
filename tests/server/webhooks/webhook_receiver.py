"""A receiver of webhooks for tests: checks every signature by its own means and keeps what arrived, in order."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()
Answer = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class Arrival:
    """One request."""

    headers: dict[str, str]
    events: list[dict[str, Any]]
    signed_by: int


@dataclass
class Receiver:
    """``decide`` says how a request is answered; by default it is taken."""

    url: str = ""
    secrets: tuple[str, ...] = (SECRET,)
    decide: Callable[[Arrival], Answer] = lambda _: (204, {})
    arrivals: list[Arrival] = field(default_factory=list)
    unsigned: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def took(self) -> list[dict[str, Any]]:
        """Every event that was answered with success, the first time it came."""
        seen: dict[str, dict[str, Any]] = {}
        with self.changed:
            for arrival in self.arrivals:
                if self.decide(arrival)[0] < 300:
                    for event in arrival.events:
                        seen.setdefault(event["id"], event)
        return list(seen.values())

    def note(self, headers: dict[str, str], body: bytes) -> Answer:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        given = headers["webhook-signature"].split()
        matching = 0
        for secret in self.secrets:
            key = base64.b64decode(secret.removeprefix("whsec_"))
            expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            matching += expected in given
        told = json.loads(body)
        with self.changed:
            self.unsigned += not matching
            arrival = Arrival(headers, told if isinstance(told, list) else [told], matching)
            self.arrivals.append(arrival)
            self.changed.notify_all()
        return self.decide(arrival)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on loopback while the body runs."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers = receiver.note({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/usage"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
