"""A conversation's items as clients write and read them, and as the model's messages.

Pure. Reference: OpenAI "Realtime", ``conversation.item.create``. Content is told in the GA names; a dialect renames.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from agents.models.port import Message, ToolRequest
from server.wire.realtime.config_parts import Part
from server.wire.realtime.faults import RealtimeFault, from_validation

MAX_ITEMS: Final = 1_000
"""Items a client may look up again; the oldest are forgotten first."""

ItemId = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=100_000)]


class Content(Part):
    """One part of a message."""

    type: Literal["input_text", "input_audio", "output_text", "output_audio", "text", "audio", "input_image"]
    text: Text | None = None
    audio: str | None = None
    transcript: Text | None = None
    image_url: str | None = None
    detail: str | None = None
    format: str | None = None

    def words(self) -> str:
        """What it says. Raises RealtimeFault for what cannot be read."""
        if self.type == "input_image":
            raise RealtimeFault("Images cannot be seen here.", param="item.content")
        return self.text or self.transcript or ""


class _Item(Part):
    id: ItemId | None = None
    object: str | None = None
    status: str | None = None


_PARTS: Final = {
    "system": {"input_text", "text"},
    "user": {"input_text", "input_audio", "input_image", "text"},
    "assistant": {"output_text", "output_audio", "text", "audio"},
}
"""Which parts a role's messages have; the last ones of each are Voice Live's."""


class MessageItem(_Item):
    """Something said or written."""

    type: Literal["message"]
    role: Literal["system", "user", "assistant"]
    content: Annotated[tuple[Content, ...], Field(strict=False, min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _parts_are_the_roles(self) -> Self:
        for part in self.content:
            if part.type not in _PARTS[self.role]:
                raise ValueError(f"a {self.role} message has no part of type '{part.type}'")
        return self


class CallItem(_Item):
    """A tool of the client's that the agent asked for."""

    type: Literal["function_call"]
    name: Annotated[str, Field(max_length=128)]
    arguments: Text
    call_id: ItemId | None = None


class OutputItem(_Item):
    """What the tool answered."""

    type: Literal["function_call_output"]
    call_id: ItemId
    output: Annotated[str, Field(max_length=256_000)]


AnyItem = Annotated[MessageItem | CallItem | OutputItem, Field(discriminator="type")]
_ADAPTER: Final[TypeAdapter[MessageItem | CallItem | OutputItem]] = TypeAdapter(AnyItem)

Item = dict[str, Any]
"""An item as it travels: JSON."""


def parse_item(raw: Any, prefix: str = "item") -> MessageItem | CallItem | OutputItem:
    """An item a client sent. Raises RealtimeFault."""
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        raise from_validation(error, prefix) from error


def message_of_item(item: MessageItem | CallItem | OutputItem) -> Message:
    """The item as a model reads it. Raises RealtimeFault for content nobody can read."""
    match item:
        case MessageItem():
            return Message(item.role, "\n".join(part.words() for part in item.content))
        case CallItem():
            request = ToolRequest(item.call_id or item.id or "call", item.name, item.arguments or "{}")
            return Message("assistant", "", tool_requests=(request,))
        case OutputItem():
            return Message("tool", item.output, tool_call_id=item.call_id)


def spoken_audio(item: MessageItem | CallItem | OutputItem) -> list[str]:
    """The audio (base64) of a user's message that has no words yet, part by part."""
    if not isinstance(item, MessageItem) or item.role != "user":
        return []
    return [part.audio for part in item.content if part.type == "input_audio" and part.audio and not part.transcript]


def item_json(item: MessageItem | CallItem | OutputItem, item_id: str) -> Item:
    """The item as it is told back: whole, complete, without its audio."""
    raw: Item = {"id": item_id, "object": "realtime.item", "status": "completed", "type": item.type}
    match item:
        case MessageItem():
            return raw | {"role": item.role, "content": [_content_json(part, item.role) for part in item.content]}
        case CallItem():
            return raw | {"name": item.name, "arguments": item.arguments, "call_id": item.call_id or item_id}
        case OutputItem():
            return raw | {"call_id": item.call_id, "output": item.output}


def _content_json(part: Content, role: str) -> dict[str, Any]:
    spoken = part.type in {"input_audio", "output_audio", "audio"}
    if role == "assistant":
        kind = "output_audio" if spoken else "output_text"
    else:
        kind = "input_audio" if spoken else "input_text"
    return {"type": kind, "transcript": part.transcript} if spoken else {"type": kind, "text": part.text or ""}


def user_audio_item(item_id: str, transcript: str | None) -> Item:
    """What the user said."""
    content = {"type": "input_audio", "transcript": transcript}
    return _message(item_id, "user", "completed", [content])


def reply_item(item_id: str, status: str, content: list[dict[str, Any]]) -> Item:
    """What the agent says."""
    return _message(item_id, "assistant", status, content)


def call_item(item_id: str, status: str, call_id: str, name: str, arguments: str) -> Item:
    """A tool of the client's that the agent asks for."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "function_call",
        "status": status,
        "name": name,
        "call_id": call_id,
        "arguments": arguments,
    }


def plausible_json(arguments: str) -> str:
    """A model's arguments, as long as they are JSON; else an empty object, which clients can at least parse."""
    try:
        json.loads(arguments)
    except ValueError:
        return "{}"
    return arguments


def _message(item_id: str, role: str, status: str, content: list[dict[str, Any]]) -> Item:
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


class ItemList:
    """The conversation as its client knows it: items in order, by id. Bounded."""

    def __init__(self) -> None:
        self._items: OrderedDict[str, Item] = OrderedDict()

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._items

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def get(self, item_id: str) -> Item | None:
        """The item, if it is known."""
        return self._items.get(item_id)

    def calls(self, call_id: str) -> bool:
        """Whether a tool was asked for under this id."""
        return any(item["type"] == "function_call" and item["call_id"] == call_id for item in self._items.values())

    @property
    def last_id(self) -> str | None:
        """The newest item."""
        return next(reversed(self._items), None)

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put an item after another (``root``: first; ``None``: last). Returns the id of the one before it."""
        before = self.last_id if after is None else None if after == "root" else after
        self._items[item["id"]] = item
        if after is not None:
            self._reorder(item["id"], before)
        while len(self._items) > MAX_ITEMS:
            self._items.popitem(last=False)
        return before

    def remove(self, item_id: str) -> None:
        """Forget an item."""
        self._items.pop(item_id, None)

    def _reorder(self, item_id: str, before: str | None) -> None:
        order = [known for known in self._items if known != item_id]
        order.insert(0 if before is None else order.index(before) + 1, item_id)
        for known in order:
            self._items.move_to_end(known)


def described(item: Item) -> Mapping[str, Any]:
    """The item as it is told now: a copy, since it may change later."""
    return json.loads(json.dumps(item))
