"""One response on its way to the client: from what the agent says to the order of events clients rely on.

created, then for each item added, parts, deltas and their ends, and at last ``response.done`` with everything in it.
Pure; driven by ``server.wire.realtime.codec``, which numbers the events. Reference: OpenAI "Realtime server events".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.core.item_ids import call_item_id, reply_item_id
from agents.events import Caption, TurnCompleted, TurnEnd, TurnUsage, VisemesOut
from server.wire.realtime.dialect import SessionConfig
from server.wire.realtime.items import ItemList, call_item, described, plausible_json, reply_item
from server.wire.realtime.settings import ReplySettings
from server.wire.realtime.word_times import timed_words

Event = tuple[str, dict[str, Any]]
"""A server event before it is numbered and named in its dialect: GA name and fields."""

_STATUS: Mapping[TurnEnd, str] = {
    "finished": "completed",
    "tools": "completed",
    "interrupted": "cancelled",
    "cancelled": "cancelled",
    "length": "incomplete",
    "filtered": "incomplete",
    "failed": "failed",
}
_REASON: Mapping[TurnEnd, str] = {
    "interrupted": "turn_detected",
    "cancelled": "client_cancelled",
    "length": "max_output_tokens",
    "filtered": "content_filter",
}
_UNPAID = frozenset({"quota.exceeded", "billing.payment_required"})
"""Codes for which OpenAI has ``insufficient_quota``."""


class Response:
    """The assembly of one response. Every method returns the events it makes due, in order."""

    def __init__(self, response_id: str, turn_id: str, reply: ReplySettings, *, items: ItemList | None) -> None:
        """``items`` is the conversation; ``None`` where the response is not part of it."""
        self.response_id = response_id
        self.turn_id = turn_id
        self.audible = reply.audible
        self.aside = items is None and not reply.audible
        """Whether it is made beside the conversation, and nobody has the floor for it."""
        self._reply = reply
        self._fields: dict[str, Any] = {}
        self._items = items
        self._metadata: Mapping[str, str] | None = None
        self._output: list[dict[str, Any]] = []
        self._message: dict[str, Any] | None = None
        self._text = ""
        self._closed_audio = False
        self._calls = 0
        self.audio_begun = False
        self.cancelled = False
        """Whether the client has cancelled it, and nobody waits for it any more."""
        self.heard_text: str | None = None
        """What of it was heard, where the rest was taken back."""
        self.failure: tuple[str, str] | None = None
        """Code and sentence of what went wrong."""

    @property
    def item_id(self) -> str:
        """The message item of this response."""
        return reply_item_id(self.turn_id)

    @property
    def has_calls(self) -> bool:
        """Whether it asked for tools of the client's."""
        return self._calls > 0

    def begin(self, config: SessionConfig, metadata: Mapping[str, str] | None) -> list[Event]:
        """The response exists."""
        self._metadata = metadata
        self._fields = config.response_fields(self._reply)
        return [("response.created", {"response": self._rendered("in_progress")})]

    def text(self, delta: str) -> list[Event]:
        """More of what is said."""
        events = self._open_message()
        self._text += delta
        name = "response.output_audio_transcript.delta" if self.audible else "response.output_text.delta"
        return [*events, (name, self.place() | {"delta": delta})]

    def audio(self) -> list[Event]:
        """Audio follows: what must be told before it."""
        if self.audio_begun:
            return []
        self.audio_begun = True
        return self._open_message()

    def audio_ended(self) -> list[Event]:
        """All audio has been sent."""
        if self._message is None or not self.audible or self._closed_audio:
            return []
        self._closed_audio = True
        timed: list[Event] = [("response.audio_timestamp.done", self.place())] if self._reply.word_times else []
        if self._reply.visemes:
            timed.append(("response.animation_viseme.done", self.place()))
        return [("response.output_audio.done", self.place()), *timed]

    def visemes(self, shapes: VisemesOut) -> list[Event]:
        """The mouth shapes of the audio that comes next, where the client wants them."""
        if not self._reply.visemes or not self.audible:
            return []
        events = self._open_message()
        for shape in shapes.visemes:
            fields = self.place() | {"audio_offset_ms": shape.at_ms, "viseme_id": shape.viseme_id}
            events.append(("response.animation_viseme.delta", fields))
        return events

    def words(self, caption: Caption) -> list[Event]:
        """A phrase has been spoken: its words and when they are heard, where the client wants to know."""
        if not self._reply.word_times or not self.audible:
            return []
        events = self._open_message()
        for word in timed_words(caption.text, caption.start_ms, caption.end_ms):
            times = {"audio_offset_ms": word.start_ms, "audio_duration_ms": word.end_ms - word.start_ms}
            fields = self.place() | times | {"text": word.text, "timestamp_type": "word"}
            events.append(("response.audio_timestamp.delta", fields))
        return events

    def call(self, call_id: str, name: str, arguments: str) -> list[Event]:
        """A tool of the client's is wanted."""
        arguments = plausible_json(arguments)
        item_id = call_item_id(self.turn_id, self._calls)
        self._calls += 1
        item = call_item(item_id, "in_progress", call_id, name, "")
        index = len(self._output)
        self._output.append(item)
        where = {"response_id": self.response_id, "item_id": item_id, "output_index": index, "call_id": call_id}
        events = self._announce(item, index)
        item |= {"status": "completed", "arguments": arguments}
        return [
            *events,
            ("response.function_call_arguments.delta", where | {"delta": arguments}),
            ("response.function_call_arguments.done", where | {"name": name, "arguments": arguments}),
            *self._conclude(item, index),
        ]

    def finish(self, completed: TurnCompleted) -> list[Event]:
        """The response is over."""
        end = completed.end
        events = self._close_message("completed" if end in {"finished", "tools"} else "incomplete")
        status = _STATUS[end]
        details: dict[str, Any] = {"type": status}
        if (reason := _REASON.get(end)) is not None:
            details["reason"] = reason
        if end == "failed":
            code, message = self.failure or (completed.error_code or "internal", "The response failed.")
            kind = "insufficient_quota" if code in _UNPAID else "server_error"
            details["error"] = {"type": kind, "code": kind if code in _UNPAID else code, "message": message}
        response = self._rendered(status) | {"status_details": details, "usage": usage_json(completed.usage)}
        return [*events, ("response.done", {"response": response})]

    # --- parts ---

    def _open_message(self) -> list[Event]:
        if self._message is not None:
            return []
        self._message = reply_item(self.item_id, "in_progress", [])
        index = len(self._output)
        self._output.append(self._message)
        part = {"type": "audio", "transcript": ""} if self.audible else {"type": "text", "text": ""}
        return [
            *self._announce(self._message, index),
            ("response.content_part.added", self.place() | {"part": part}),
        ]

    def _close_message(self, status: str) -> list[Event]:
        message = self._message
        if message is None:
            return []
        place, text = self.place(), self._text
        if self.audible:
            ended = self.audio_ended()
            told: Event = ("response.output_audio_transcript.done", place | {"transcript": text})
            part = {"type": "audio", "transcript": text}
            content = {"type": "output_audio", "transcript": text if self.heard_text is None else self.heard_text}
        else:
            ended = []
            told = ("response.output_text.done", place | {"text": text})
            part = {"type": "text", "text": text}
            content = {"type": "output_text", "text": text}
        message |= {"status": status, "content": [content]}
        closed: Event = ("response.content_part.done", place | {"part": part})
        return [*ended, told, closed, *self._conclude(message, place["output_index"])]

    def _announce(self, item: dict[str, Any], index: int) -> list[Event]:
        seen = described(item)
        where = {"response_id": self.response_id, "output_index": index}
        events: list[Event] = [("response.output_item.added", where | {"item": seen})]
        if self._items is not None:
            before = self._items.add(item)
            events.append(("conversation.item.added", {"previous_item_id": before, "item": seen}))
        return events

    def _conclude(self, item: dict[str, Any], index: int) -> list[Event]:
        seen = described(item)
        where = {"response_id": self.response_id, "output_index": index}
        events: list[Event] = [("response.output_item.done", where | {"item": seen})]
        if self._items is not None:
            events.append(("conversation.item.done", {"item": seen}))
        return events

    def place(self) -> dict[str, Any]:
        """Where in the response its message stands."""
        index = self._output.index(self._message) if self._message is not None else 0
        return {
            "response_id": self.response_id,
            "item_id": self.item_id,
            "output_index": index,
            "content_index": 0,
        }

    def _rendered(self, status: str) -> dict[str, Any]:
        response: dict[str, Any] = {
            "object": "realtime.response",
            "id": self.response_id,
            "status": status,
            "output": [described(item) for item in self._output],
            **self._fields,
        }
        if self._metadata is not None:
            response["metadata"] = dict(self._metadata)
        return response


def usage_json(usage: TurnUsage) -> dict[str, Any]:
    """Tokens as clients read them. Audio is metered in milliseconds, never as tokens: all of these are text's."""
    cached = {"text_tokens": usage.cached_input_tokens, "audio_tokens": 0}
    return {
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_token_details": {
            "text_tokens": usage.input_tokens,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": usage.cached_input_tokens,
            "cached_tokens_details": cached | {"image_tokens": 0},
        },
        "output_token_details": {"text_tokens": usage.output_tokens, "audio_tokens": 0},
    }
