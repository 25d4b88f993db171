"""Providers for tests of tenants' keys, on the loopback interface: Chat Completions in OpenAI's and both of Azure's
manners, and Azure Speech's token. Which key may ask is set from outside; a provider may be hostile, and say the key
back wherever it can. What was asked with which key is kept. Standard library only, in threads of its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOODS = ("works", "refuses", "throttles", "hangs", "garbage", "breaks", "drops", "redirects", "missing")


@dataclass
class Providers:
    """``mood`` is how every request fares, ``known`` the keys that may ask (``None``: any)."""

    port: int
    known: set[str] | None = None
    mood: str = "works"
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Path and key of each request."""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    moods: dict[str, str] = field(default_factory=dict[str, str])
    """How those fare who ask with a key, where it is not as everybody does."""
    answers: dict[str, str] = field(default_factory=dict[str, str])
    """What is said to whoever asks with a key, where it is not the usual."""
    elsewhere: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keys(self) -> list[str]:
        return [key for _, key in self.asked]

    def own(self, provider: str, key: str, label: str = "ours") -> dict[str, str]:
        """The body that stores a key of this provider's."""
        place = {
            "azure-speech": {"endpoint": self.url},
            "azure-openai": {"endpoint": self.url, "deployment": "gpt-voice"},
            "openai-compatible": {"base_url": f"{self.url}/v1", "model": "any"},
        }[provider]
        return {"provider": provider, "label": label, "key": key} | place


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    providers: Providers

    def do_POST(self) -> None:
        self.close_connection = True
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        key = self.headers.get("api-key") or self.headers.get("Ocp-Apim-Subscription-Key") or bearer
        providers = self.providers
        providers.asked.append((self.path, key))
        providers.headers.append({name.lower(): value for name, value in self.headers.items()})
        mood = providers.moods.get(key, providers.mood)
        if mood == "works" and providers.known is not None and key not in providers.known:
            mood = "refuses"
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer(mood, key)

    do_GET = do_POST  # noqa: N815 - as http.server has it

    def _answer(self, mood: str, key: str) -> None:
        said = {"error": {"message": f"Incorrect API key provided: {key}", "code": key, "type": key}}
        match mood:
            case "refuses":
                self._send(401, said, {"x-request-id": key, "WWW-Authenticate": f"Bearer {key}"})
            case "throttles":
                self._send(429, said, {"Retry-After": "1", "x-request-id": key})
            case "breaks":
                self._send(500, said, {"x-request-id": key})
            case "missing":
                self._send(404, said, {})
            case "hangs":
                self.providers.closing.wait(60)
            case "garbage":
                self._stream([f"data: {{{key}\n\n".encode(), f"nonsense {key}\n\n".encode()])
            case "drops":
                self._stream([_chunk("Well ")], cut=True)
            case "redirects":
                self._send(307, said, {"Location": f"{self.providers.elsewhere}{self.path}"})
            case _ if "issueToken" in self.path:
                self._send(200, {"token": "none"}, {})
            case _:
                text = self.providers.answers.get(key, "Thank you for telling me.")
                words = [_chunk(f"{word} ") for word in text.split()]
                self._stream([*words, _chunk("", "stop"), _usage(), b"data: [DONE]\n\n"])

    def _send(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Type": "application/json", "Content-Length": str(len(raw))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, pieces: list[bytes], *, cut: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        if cut:
            self.send_header("Content-Length", "100000")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


def _chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return _event({"choices": [choice]})


def _usage() -> bytes:
    return _event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}})


def _event(body: dict[str, Any]) -> bytes:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return f"data: {json.dumps(head | body)}\n\n".encode()


@contextmanager
def providers_here() -> Iterator[Providers]:
    """Serves until left."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        providers = handler.providers = Providers(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield providers
        finally:
            providers.closing.set()
            server.shutdown()
            thread.join(10)
