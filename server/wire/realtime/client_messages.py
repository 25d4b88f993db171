"""The messages a realtime client may send, judged. Reference: OpenAI "Realtime client events".

``input_audio_buffer.append`` is not among them: ``server.wire.realtime.codec`` reads it in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from server.wire.realtime.items import ItemId


class ClientMessage(BaseModel):
    """Base: strict values, names unknown to us are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    event_id: Annotated[str, Field(max_length=512)] | None = None


class SessionUpdate(ClientMessage):
    """``session.update``."""

    session: dict[str, Any]


class BufferCommit(ClientMessage):
    """``input_audio_buffer.commit``."""


class BufferClear(ClientMessage):
    """``input_audio_buffer.clear``."""


class OutputClear(ClientMessage):
    """``output_audio_buffer.clear``."""


class ItemCreate(ClientMessage):
    """``conversation.item.create``."""

    item: dict[str, Any]
    previous_item_id: str | None = None


class ItemRetrieve(ClientMessage):
    """``conversation.item.retrieve``."""

    item_id: ItemId


class ItemDelete(ClientMessage):
    """``conversation.item.delete``."""

    item_id: ItemId


class ItemTruncate(ClientMessage):
    """``conversation.item.truncate``."""

    item_id: ItemId
    content_index: Annotated[int, Field(ge=0)] = 0
    audio_end_ms: Annotated[int, Field(ge=0, le=2**53 - 1)]


class ResponseCreate(ClientMessage):
    """``response.create``."""

    response: dict[str, Any] | None = None


class ResponseCancel(ClientMessage):
    """``response.cancel``."""

    response_id: str | None = None


AnyMessage = (
    SessionUpdate
    | BufferCommit
    | BufferClear
    | OutputClear
    | ItemCreate
    | ItemRetrieve
    | ItemDelete
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
)

APPEND: Final = "input_audio_buffer.append"
MODELS: Final[Mapping[str, type[AnyMessage]]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.commit": BufferCommit,
    "input_audio_buffer.clear": BufferClear,
    "output_audio_buffer.clear": OutputClear,
    "conversation.item.create": ItemCreate,
    "conversation.item.retrieve": ItemRetrieve,
    "conversation.item.delete": ItemDelete,
    "conversation.item.truncate": ItemTruncate,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
}
