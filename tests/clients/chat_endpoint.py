"""A language model for tests: Chat Completions over HTTP on the loopback interface, and always the same answers.

Decides by the last message: a function's output is told; words about moving are a call of the client's function, if it
is on offer; words about the superlative get an answer long enough to be interrupted; anything else a short one.
Standard library only, in a thread of its own. What the server asked is kept, for tests to look at.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FUNCTION_NAME = "move_robot"
FUNCTION_ARGUMENTS = {"direction": "forward", "meters": 10}
FUNCTION_ANSWER = "The robot is waiting for you at {}."
GREETING = "Good morning. The robot is ready."
SHORT_ANSWER = "Thank you for telling me. I will think about it."
LONG_ANSWER = (
    "That is a long story. A long time ago, in a small town near the sea, there lived an old man who "
    "played cards every evening. He sat by the window, and he watched the ships come home. His friends came when the "
    "sun went down. They brought bread and cheese, and they told stories until midnight. One of them had been a "
    "sailor. Another had been a teacher. The youngest of them painted pictures of the harbor, and he never sold one."
)


def answer_to(messages: list[dict[str, Any]], tools: list[str]) -> str | None:
    """What is said to this; None for a call of the function."""
    last = messages[-1]
    text = _text(last)
    if last["role"] == "tool":
        place = re.search(r'"place": ?"([^"]+)"', text)
        return FUNCTION_ANSWER.format(place.group(1)) if place else f"It did not work. {text}"
    if re.search(r"\bgreet\b", text, re.IGNORECASE):
        return GREETING
    if re.search(r"\b(forward|meters?)\b", text, re.IGNORECASE) and FUNCTION_NAME in tools:
        return None
    return LONG_ANSWER if re.search(r"superlative|degree", text, re.IGNORECASE) else SHORT_ANSWER


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def chunks(
    request: dict[str, Any], identity: str, always: str | None = None, before_word: Callable[[int], None] | None = None
) -> Iterator[dict[str, Any]]:
    """The streamed answer to a request. ``before_word(n)`` may wait."""
    head = {"id": identity, "object": "chat.completion.chunk", "created": 1, "model": request["model"]}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    tools = [tool["function"]["name"] for tool in request.get("tools") or ()]
    answer = answer_to(request["messages"], tools) if always is None else always
    yield chunk({"role": "assistant", "content": "" if answer is not None else None})
    if answer is None:
        function = {"name": FUNCTION_NAME, "arguments": ""}
        yield chunk({"tool_calls": [{"index": 0, "id": f"call_{identity}", "type": "function", "function": function}]})
        for piece in re.findall(r".{1,8}", json.dumps(FUNCTION_ARGUMENTS)):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    for number, word in enumerate(re.findall(r"\S+\s*", answer or "")):
        if before_word is not None:
            before_word(number)
        yield chunk({"content": word})
    yield chunk({}, "stop" if answer is not None else "tool_calls")
    details = {"cached_tokens": 0}
    usage = {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52, "prompt_tokens_details": details}
    yield head | {"choices": [], "usage": usage}


class ChatEndpoint:
    """The running endpoint: ``base_url`` for the server's settings (``root_url`` where it stands for Azure's);
    ``requests`` as they came, and how they were ``asked``: the path and the names of the headers."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.root_url = f"http://127.0.0.1:{port}"
        self.requests: list[dict[str, Any]] = []
        self.asked: list[tuple[str, set[str]]] = []


@contextmanager
def chat_endpoint(
    always: str | None = None, before_word: Callable[[int], None] | None = None
) -> Iterator[ChatEndpoint]:
    """Serves until left. ``always`` is said to everything; ``before_word(n)`` is called, in a thread of the request's
    own, before each of its words."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.requests.append(request)
            endpoint.asked.append((self.path, {name.lower() for name in self.headers}))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            try:
                for chunk in chunks(request, f"chat-{len(endpoint.requests)}", always, before_word):
                    self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                    self.wfile.flush()
                self.wfile.write(b"data: [DONE]\n\n")
            except (BrokenPipeError, ConnectionResetError):
                pass  # whoever asked has changed their mind
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        endpoint = ChatEndpoint(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join(10)
