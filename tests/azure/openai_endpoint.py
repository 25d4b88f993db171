"""An Azure OpenAI resource for tests and for work without an account, on the loopback interface.

Speaks both surfaces (``/openai/deployments/<name>/chat/completions?api-version=`` and ``/openai/v1/chat/completions``)
the way the service does: keys or bearer tokens are checked, unknown deployments are not found, the first chunk carries
the prompt's filter results, the last one the usage, and every answer the rate-limit headers. Faults are put in force by
name (``inject``), for every deployment or for one. What was asked is kept, and so is whether an answer was read to its
end. Standard library only, in threads of its own.

By hand: ``PYTHONPATH=tests python -m azure.openai_endpoint --port 9001``, with ``--fault`` for one of ``FAULTS``.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from clients.chat_endpoint import answer_to

KEY = "azure-key-of-a-test"
TOKEN = "azure-token-of-a-test"
WAIT_LIMIT_S = 30.0
PIECE_S = 0.02
SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
VIOLENT = SAFE | {"violence": {"filtered": True, "severity": "medium"}}
JAILBREAK = VIOLENT | {"jailbreak": {"filtered": True, "detected": True}}
REFUSED_PROMPT = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."

STATUSES: dict[str, tuple[int, str, str]] = {
    "unauthorized": (401, "401", "Access denied due to invalid subscription key or wrong API endpoint."),
    "forbidden": (403, "PermissionDenied", "The principal lacks the required data action."),
    "missing": (404, "DeploymentNotFound", "The API deployment for this resource does not exist."),
    "throttled": (429, "429", "Requests have exceeded the call rate limit."),
    "broken": (500, "InternalServerError", "The server had an error while processing your request."),
    "unavailable": (503, "ServiceUnavailable", "The service is temporarily unable to process your request."),
}
STREAMS = ("silent", "hesitate", "stall", "drop", "garbage", "endless", "completion_filter", "async_filter", "spent")
FAULTS = (*STATUSES, "prompt_filter", *STREAMS)
"""``spent`` answers and says that nothing is left; ``silent`` never begins, ``hesitate`` begins and says nothing,
``stall`` and ``drop`` stop in the middle,
``endless`` goes on until the client leaves."""


@dataclass(frozen=True)
class Fault:
    kind: str
    deployment: str | None = None
    retry_after: str | None = None
    reset: str = "30"


@dataclass
class Asked:
    """One request, and how its answer went. ``over`` is set when nothing more is written; ``left`` says that the
    client had gone before the end."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    deployment: str
    pieces: int = 0
    left: bool = False
    over: threading.Event = field(default_factory=threading.Event)


class OpenAIEndpoint:
    """The running resource. ``url`` is its endpoint; ``says`` are the answers of a deployment that has its own."""

    def __init__(self, port: int, deployments: tuple[str, ...]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[Asked] = []
        self.says: dict[str, str] = {}
        self.deployments = deployments
        self.closing = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def inject(self, kind: str, times: int = 1, **more: Any) -> None:
        """The next ``times`` requests (to this ``deployment``) meet this fault."""
        assert kind in FAULTS
        with self._lock:
            self._faults += [Fault(kind, **more)] * times

    def heal(self) -> None:
        with self._lock:
            self._faults.clear()

    def of(self, deployment: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.deployment == deployment]

    def next_fault(self, deployment: str) -> Fault:
        with self._lock:
            for fault in self._faults:
                if fault.deployment in (None, deployment):
                    self._faults.remove(fault)
                    return fault
        return Fault("none")


def _known(headers: dict[str, str]) -> bool:
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("api-key") == KEY or bearer in (KEY, TOKEN)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    endpoint: OpenAIEndpoint

    def do_POST(self) -> None:
        self.close_connection = True
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        address = urlsplit(self.path)
        dated = re.fullmatch(r"/openai/deployments/([^/]+)/chat/completions", address.path)
        deployment = dated[1] if dated else str(body.get("model"))
        asked = Asked(self.path, headers, body, deployment)
        self.endpoint.asked.append(asked)
        try:
            if (dated is None and address.path != "/openai/v1/chat/completions") or (
                dated and "api-version" not in parse_qs(address.query)
            ):
                self._refuse(404, "404", "Resource not found")
            elif not _known(headers):
                self._refuse(*STATUSES["unauthorized"])
            elif deployment not in self.endpoint.deployments:
                self._refuse(*STATUSES["missing"])
            else:
                self._answer(asked, self.endpoint.next_fault(deployment))
        except (BrokenPipeError, ConnectionResetError):
            asked.left = True
        finally:
            asked.over.set()

    def _refuse(self, status: int, code: str, message: str, more: dict[str, Any] | None = None, **headers: str) -> None:
        data = json.dumps({"error": {"code": code, "message": message, **(more or {})}}).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, asked: Asked, fault: Fault) -> None:
        if fault.kind in STATUSES:
            wait = {"retry-after": fault.retry_after} if fault.retry_after is not None else {}
            self._refuse(*STATUSES[fault.kind], **wait)
            return
        if fault.kind == "prompt_filter":
            inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": JAILBREAK}
            more = {"param": "prompt", "type": None, "status": 400, "innererror": inner}
            self._refuse(400, "content_filter", REFUSED_PROMPT, more)
            return
        if fault.kind == "silent":
            self._wait_for_the_client(asked)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("connection", "close")
        left = "0" if fault.kind == "spent" else "99"
        for what in ("requests", "tokens"):
            self.send_header(f"x-ratelimit-remaining-{what}", left)
            self.send_header(f"x-ratelimit-reset-{what}", fault.reset)
        self.end_headers()
        self._stream(asked, fault)

    def _stream(self, asked: Asked, fault: Fault) -> None:
        body = asked.body
        self._send(_head(asked) | {"choices": [], "prompt_filter_results": [_results(SAFE, prompt_index=0)]})
        self._send(_chunk(asked, {"role": "assistant", "content": ""}))
        if fault.kind == "hesitate":
            self._wait_for_the_client(asked)
            return
        text = self.endpoint.says.get(asked.deployment)
        words = re.findall(r"\S+\s*", text or answer_to(body["messages"], []) or "")
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
        cut = None if fault.kind in ("none", "spent", "endless") else max(1, len(words) // 2)
        for word in words[: min(limit, len(words)) if cut is None else cut]:
            self._send(_chunk(asked, {"content": word}, results=SAFE))
            asked.pieces += 1
        match fault.kind:
            case "stall":
                self._wait_for_the_client(asked)
                return
            case "drop":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
            case "garbage":
                self.wfile.write(b"data: {not json\n\n")
                return
            case "endless":
                self._go_on(asked)
                return
            case "async_filter":
                self._send(_chunk(asked, {}, results=VIOLENT))
                self._send(_chunk(asked, {}, "content_filter"))
            case "completion_filter":
                self._send(_chunk(asked, {}, "content_filter", VIOLENT))
            case _:
                self._send(_chunk(asked, {}, "length" if limit < len(words) else "stop"))
        details = {"cached_tokens": 0}
        usage = {"prompt_tokens": 40, "completion_tokens": asked.pieces, "total_tokens": 40 + asked.pieces}
        self._send(_head(asked) | {"choices": [], "usage": usage | {"prompt_tokens_details": details}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _go_on(self, asked: Asked) -> None:
        """Generates until nobody listens any more."""
        while not self._client_left(PIECE_S):
            self._send(_chunk(asked, {"content": "and so on, "}))
            asked.pieces += 1
        asked.left = True

    def _wait_for_the_client(self, asked: Asked) -> None:
        asked.left = self._client_left(WAIT_LIMIT_S)

    def _client_left(self, within_s: float) -> bool:
        waited = 0.0
        while waited < within_s and not self.endpoint.closing.is_set():
            step_s = min(0.1, within_s)
            readable, _, _ = select.select([self.connection], [], [], step_s)
            if readable:
                return self.connection.recv(1, socket.MSG_PEEK) == b""
            waited += step_s
        return self.endpoint.closing.is_set()

    def _send(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

    def log_message(self, *_: Any) -> None:
        pass


def _head(asked: Asked) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": asked.deployment}


def _results(results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content_filter_results": results, **more}


def _chunk(
    asked: Asked, delta: dict[str, Any], finish: str | None = None, results: dict[str, Any] | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return _head(asked) | {"choices": [choice | _results(results or {})]}


@contextmanager
def openai_endpoint(*deployments: str, port: int = 0) -> Iterator[OpenAIEndpoint]:
    """Serves these deployments (``gpt-voice`` and ``gpt-small``) until left."""
    endpoint: OpenAIEndpoint
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        endpoint = OpenAIEndpoint(server.server_port, deployments or ("gpt-voice", "gpt-small"))
        handler.endpoint = endpoint
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.closing.set()
            server.shutdown()
            thread.join(10)


def main() -> None:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(description="A local stand-in for an Azure OpenAI resource.")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--fault", choices=FAULTS, help="what every request meets")
    chosen = parser.parse_args()
    with openai_endpoint(port=chosen.port) as endpoint:
        if chosen.fault:
            endpoint.inject(chosen.fault, times=100_000)
        print(f"{endpoint.url} deployments: {', '.join(endpoint.deployments)} key: {KEY}")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
