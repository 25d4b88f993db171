"""The framing of Azure Speech's WebSocket messages, both ways. Pure: no sockets, no clock, no state.

A text message is header lines, an empty line and a body. A binary message is the length of its headers (two bytes,
big-endian), the header lines, and the payload. Names are case-insensitive; the native SDK writes no space after the
colon. Source: the public description of the Speech SDK's protocol, and what the SDK was seen to send and accept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

JSON_TYPE: Final = "application/json; charset=utf-8"
_MAX_HEADERS: Final = 32


class FrameError(ValueError):
    """Bytes that are not a message of this protocol; the service closes with 1007."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a client sent. ``headers`` has lower-case names; ``body`` is text or bytes, as it came."""

    path: str
    request_id: str
    body: str | bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def data(self) -> bytes:
        """The body as bytes."""
        return self.body.encode() if isinstance(self.body, str) else self.body

    @property
    def text(self) -> str:
        """The body as text. Raises FrameError."""
        if isinstance(self.body, str):
            return self.body
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise FrameError(f"{self.path} is not UTF-8") from error

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is an empty object. Raises FrameError."""
        text = self.text
        if not text.strip():
            return {}
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FrameError(f"{self.path} is not JSON") from error
        if not isinstance(value, dict):
            raise FrameError(f"{self.path} is not a JSON object")
        return cast("dict[str, Any]", value)


def decode(frame: str | bytes) -> Message:
    """A received WebSocket message. Raises FrameError."""
    return _decode_text(frame) if isinstance(frame, str) else _decode_binary(frame)


def encode_text(path: str, request_id: str, body: Mapping[str, Any]) -> str:
    """A JSON message to the client, which must carry the id of the request it answers."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return f"X-RequestId:{request_id}\r\nPath:{path}\r\nContent-Type:{JSON_TYPE}\r\n\r\n{text}"


def encode_audio(request_id: str, stream_id: str, payload: bytes, content_type: str = "audio/x-wav") -> bytes:
    """A stretch of synthesized audio."""
    lines = f"X-RequestId:{request_id}\r\nX-StreamId:{stream_id}\r\nPath:audio\r\nContent-Type:{content_type}\r\n"
    head = lines.encode("ascii")
    return len(head).to_bytes(2, "big") + head + payload


def _decode_text(frame: str) -> Message:
    head, separator, body = frame.partition("\r\n\r\n")
    if not separator:
        raise FrameError("a text message without an empty line after its headers")
    return _message(head, body)


def _decode_binary(frame: bytes) -> Message:
    if len(frame) < 2:
        raise FrameError("a binary message shorter than the length of its headers")
    end = 2 + int.from_bytes(frame[:2], "big")
    if end > len(frame):
        raise FrameError("a binary message shorter than its headers")
    try:
        head = frame[2:end].decode("utf-8")
    except UnicodeDecodeError as error:
        raise FrameError("headers that are not UTF-8") from error
    return _message(head, frame[end:])


def _message(head: str, body: str | bytes) -> Message:
    headers: dict[str, str] = {}
    for line in head.split("\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or len(headers) >= _MAX_HEADERS:
            raise FrameError("a header line without a colon, or too many of them")
        headers[name.strip().lower()] = value.strip()
    path = headers.get("path", "").lower()
    if not path:
        raise FrameError("a message without a Path")
    return Message(path, headers.get("x-requestid", "").replace("-", ""), body, headers)
