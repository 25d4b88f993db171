"""Azure Voice Live's dialect: what its events are called, and how items and responses look in it.

Values and pure functions. Reference: the server events of Microsoft's ``azure-ai-voicelive`` client (1.3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.wire.realtime.dialect import Dialect
from server.wire.realtime.faults import RealtimeFault
from server.wire.realtime.voice_live_client import VoiceLiveClientEvents

_NAMES: Final[Mapping[str, str | None]] = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "conversation.item.added": "conversation.item.created",
    "conversation.item.done": None,
    "conversation.created": None,
    "rate_limits.updated": None,
    "input_audio_buffer.timeout_triggered": None,
    "output_audio_buffer.started": None,
    "output_audio_buffer.stopped": None,
}
_CONTENT: Final = {"output_audio": "audio", "output_text": "text"}
_FOREIGN: Final = ("mcp_", "web_search_", "file_search_")


def _read_item(item: dict[str, Any]) -> dict[str, Any]:
    """An item a client sent. Raises RealtimeFault for those of Azure's own services."""
    kind = item.get("type")
    if isinstance(kind, str) and kind.startswith(_FOREIGN):
        raise RealtimeFault(f"There are no items of type '{kind[:64]}' here.", code="not_available", param="item.type")
    return item


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    match item.get("type"):
        case "message":
            return {**item, "content": [_content(part) for part in item["content"]]}
        case "function_call_output":
            return {name: value for name, value in item.items() if name != "status"}
        case _:
            return dict(item)


def _content(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = _CONTENT.get(part["type"], part["type"])
    told = {**part, "type": kind}
    return {"audio": "", **told} if kind == "input_audio" else told  # the field has to be there; audio is not told


def _response(response: Mapping[str, Any]) -> dict[str, Any]:
    told = {**response, "output": [_item(item) for item in response["output"]]}
    if response["status"] == "completed":
        told.pop("status_details", None)
    return told


def _dressed(name: str, body: dict[str, Any]) -> dict[str, Any]:
    if "response" in body:
        return body | {"response": _response(body["response"])}
    if "item" in body:
        return body | {"item": _item(body["item"])}
    if name == "output_audio_buffer.cleared":
        body.pop("response_id", None)
    return body


VOICE_LIVE: Final = Dialect(_NAMES, _read_item, _dressed, VoiceLiveClientEvents, warns=True)
