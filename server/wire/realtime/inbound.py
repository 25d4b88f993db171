"""The inbound half of the realtime codec: a client's messages to acts.

I/O-free. A message that cannot be taken becomes an ``error`` event and changes nothing. Driven by
``server.wire.realtime.codec``.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final, assert_never

import msgspec
from pydantic import ValidationError

from agents.models.port import Message
from audio.formats import AudioFormat, Encoding
from server.wire.client_events import AudioIn, Cancel, Commit
from server.wire.realtime.acts import (
    Act,
    AddItem,
    ClearInput,
    ClearOutput,
    Configure,
    RemoveItem,
    Respond,
    Truncate,
)
from server.wire.realtime.client_messages import (
    APPEND,
    MODELS,
    AnyMessage,
    BufferClear,
    BufferCommit,
    ItemCreate,
    ItemDelete,
    ItemRetrieve,
    ItemTruncate,
    OutputClear,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
)
from server.wire.realtime.dialect import Answer
from server.wire.realtime.faults import RealtimeFault, from_validation
from server.wire.realtime.items import (
    CallItem,
    MessageItem,
    OutputItem,
    described,
    item_json,
    message_of_item,
    parse_item,
    spoken_audio,
)
from server.wire.realtime.state import RealtimeState, Requested

MAX_MESSAGE_BYTES: Final = 15 * 1024 * 1024
"""As OpenAI has it for audio in one message."""
MAX_RECORDING_BYTES: Final = 8 * 1024 * 1024
MAX_REQUESTED: Final = 8


class _Append(msgspec.Struct, tag_field="type", tag=APPEND):
    audio: bytes


class _Other(msgspec.Struct):
    type: str | None = None
    event_id: Any = None


_APPEND: Final = msgspec.json.Decoder(_Append)
_HEAD: Final = msgspec.json.Decoder(_Other)
_APPEND_MARK: Final = f'"{APPEND}"'


class Inbound:
    """Reads one client's messages."""

    def __init__(self, state: RealtimeState, max_faults: int) -> None:
        """``max_faults`` messages in a row that cannot be taken end the connection."""
        self._state = state
        self._others = state.dialect.client_events()
        self._max_faults = max_faults
        self._faults = 0

    def feed(self, frame: str | bytes) -> list[Act]:
        """What one message asks for. Raises RealtimeFault where the connection must end."""
        if isinstance(frame, str) and (_APPEND_MARK in frame[:120] or _APPEND_MARK in frame[-120:]):
            try:
                return self._taken([AudioIn(_APPEND.decode(frame).audio)])
            except (msgspec.DecodeError, UnicodeError):
                pass  # said more exactly below
        event_id: str | None = None
        try:
            kind, event_id = self._head(frame)
            return self._taken(self._act(kind, frame))
        except RealtimeFault as fault:
            self._faults += 1
            if fault.fatal or self._faults >= self._max_faults:
                raise RealtimeFault(fault.message, code=fault.code, param=fault.param, fatal=True) from fault
            return [self._state.fault(fault, event_id)]

    def _taken(self, acts: list[Act]) -> list[Act]:
        self._faults = 0
        return acts

    def _head(self, frame: str | bytes) -> tuple[str, str | None]:
        if len(frame) > MAX_MESSAGE_BYTES:
            raise RealtimeFault("The message is larger than 15 MiB.", code="message_too_large", fatal=True)
        try:
            head = _HEAD.decode(frame)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise RealtimeFault("The message is not a JSON object with a 'type'.", code="invalid_json") from error
        if head.type is None:
            raise RealtimeFault("Missing required parameter: 'type'.", code="missing_required_parameter", param="type")
        return head.type, head.event_id if isinstance(head.event_id, str) else None

    def _act(self, kind: str, frame: str | bytes) -> list[Act]:
        if kind == APPEND:
            return [AudioIn(_audio(frame))]
        if kind in self._others.names:
            return self._other(frame)
        model = _model(kind)
        try:
            message = model.model_validate_json(frame)
        except ValidationError as error:
            raise from_validation(error) from error
        self._faults = 0  # it could be read: what stands against it now is no garbage
        return self._event(message)

    def _other(self, frame: str | bytes) -> list[Act]:
        """An event of the dialect's own. What it means is done up to the first part that cannot be."""
        try:
            message: dict[str, Any] = msgspec.json.decode(frame)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise RealtimeFault("The message is not valid JSON.", code="invalid_json") from error
        acts: list[Act] = []
        for part in self._others.read(message):
            try:
                acts += self._part(part, message.get("event_id"))
            except RealtimeFault as fault:
                if not acts:
                    raise
                return [*acts, self._state.fault(fault, message.get("event_id"))]
        return acts

    def _part(self, part: dict[str, Any] | Answer, event_id: str | None) -> list[Act]:
        if isinstance(part, Answer):
            return [*self._state.tell((part.name, part.fields))]
        try:
            if part["type"] == APPEND:
                return [AudioIn(_audio(msgspec.json.encode(part)))]
            return self._event(_model(part["type"]).model_validate({"event_id": event_id, **part}))
        except ValidationError as error:
            raise from_validation(error) from error

    def _event(self, message: AnyMessage) -> list[Act]:
        match message:
            case SessionUpdate():
                return self._update(message)
            case BufferCommit():
                self._state.commit_event_id = message.event_id
                return [Commit()]
            case BufferClear():
                return [ClearInput(), *self._state.tell(("input_audio_buffer.cleared", {}))]
            case OutputClear():
                return [ClearOutput()]
            case ItemCreate() | ItemRetrieve() | ItemDelete() | ItemTruncate():
                return self._item(message)
            case ResponseCreate():
                return self._respond(message)
            case ResponseCancel():
                return self._cancel(message)
            case _:
                assert_never(message)

    # --- the session ---

    def _update(self, message: SessionUpdate) -> list[Act]:
        state = self._state
        state.config = state.config.updated(message.session)
        events = [("session.updated", {"session": state.config.rendered()}), *state.warnings(state.config.warnings())]
        settings = state.config.settings
        return [Configure(settings.for_media() if state.media else settings), *state.tell(*events)]

    # --- items ---

    def _item(self, message: ItemCreate | ItemRetrieve | ItemDelete | ItemTruncate) -> list[Act]:
        match message:
            case ItemCreate():
                return self._create(message)
            case ItemRetrieve(item_id=item_id):
                item = self._known(item_id, "item_retrieve_invalid_item_id")
                return [*self._state.tell(("conversation.item.retrieved", {"item": described(item)}))]
            case ItemDelete(item_id=item_id):
                self._known(item_id, "item_delete_invalid_item_id")
                self._state.items.remove(item_id)
                return [RemoveItem(item_id), *self._state.tell(("conversation.item.deleted", {"item_id": item_id}))]
            case ItemTruncate():
                item = self._known(message.item_id, "item_truncate_invalid_item_id")
                if item.get("role") != "assistant":
                    raise RealtimeFault("Only the assistant's messages can be truncated.", param="item_id")
                if message.content_index != 0:
                    raise RealtimeFault("The item has one content part, of index 0.", param="content_index")
                return [Truncate(message.item_id, message.audio_end_ms, message.content_index)]

    def _create(self, message: ItemCreate) -> list[Act]:
        state, after = self._state, message.previous_item_id
        item = parse_item(state.dialect.read_item(message.item))
        item_id = item.id or state.new_id("item")
        if item_id in state.items:
            raise RealtimeFault("There is an item of this id already.", code="item_already_exists", param="item.id")
        if after is not None and after != "root" and after not in state.items:
            raise RealtimeFault("There is no item of this id.", code="item_not_found", param="previous_item_id")
        if isinstance(item, OutputItem) and not state.items.calls(item.call_id):
            message_text = f"Tool call ID '{item.call_id}' not found in conversation."
            raise RealtimeFault(message_text, code="invalid_tool_call_id", param="item.call_id")
        audio = _recording(item, state.config.settings.input_format)
        add = AddItem(item_id, message_of_item(item), "" if after == "root" else after, audio)
        told = item_json(item, item_id)
        before = state.items.add(told, after)
        seen = described(told)
        added = ("conversation.item.added", {"previous_item_id": before, "item": seen})
        return [add, *state.tell(added, ("conversation.item.done", {"previous_item_id": before, "item": seen}))]

    def _known(self, item_id: str, code: str) -> dict[str, Any]:
        item = self._state.items.get(item_id)
        if item is None:
            raise RealtimeFault(f"There is no item with id '{item_id[:64]}'.", code=code, param="item_id")
        return item

    # --- responses ---

    def _respond(self, message: ResponseCreate) -> list[Act]:
        state = self._state
        if state.config.settings.writes_only:
            raise RealtimeFault("A transcription session makes no responses.", code="invalid_request")
        params, reply = state.config.parse_reply(message.response or {})
        if params.conversation not in {None, "auto", "none"}:
            raise RealtimeFault("Expected 'auto' or 'none'.", param="response.conversation")
        remembered = params.conversation != "none"
        aside = not remembered and not reply.audible
        active = None if aside or state.active is None or state.active.has_calls else state.active
        if active is not None and not params.cancels_previous and not active.cancelled:
            raise RealtimeFault(
                f"Conversation already has an active response in progress: {active.response_id}. "
                "Wait until the response is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )
        if len(state.requested) >= MAX_REQUESTED:
            raise RealtimeFault("Too many responses wait to begin.", code="rate_limit_exceeded")
        turn_id = state.new_id("resp")
        messages = None if params.input is None else tuple(self._input(raw) for raw in params.input)
        state.requested[turn_id] = Requested(reply, params.metadata, remembered, message.event_id)
        before = [] if active is None or active.cancelled else [Cancel(active.turn_id)]
        respond = Respond(turn_id, reply, messages, remembered)
        return [*before, respond, *state.tell(*state.warnings(params.warnings))]

    def _input(self, raw: dict[str, Any]) -> Message:
        if raw.get("type") == "item_reference":
            item = self._known(str(raw.get("id")), "item_not_found")
            return message_of_item(parse_item(_sent_back(item), "response.input"))
        return message_of_item(parse_item(self._state.dialect.read_item(raw), "response.input"))

    def _cancel(self, message: ResponseCancel) -> list[Act]:
        responses = self._state.responses.values()
        wanted = message.response_id
        found = next((one for one in responses if wanted == one.response_id), None) if wanted else self._state.active
        waiting = next(iter(self._state.requested), None)
        if found is None and waiting is not None and wanted in {None, waiting}:
            return [Cancel(waiting)]
        if found is None:
            raise RealtimeFault("Cancellation failed: no active response found.", code="response_cancel_not_active")
        found.cancelled = True
        return [Cancel(found.turn_id)]


def _audio(frame: str | bytes) -> bytes:
    try:
        return _APPEND.decode(frame).audio
    except (msgspec.DecodeError, UnicodeError) as error:
        if "missing required field" in str(error):
            code = "missing_required_parameter"
            raise RealtimeFault("Missing required parameter: 'audio'.", code=code, param="audio") from error
        raise RealtimeFault("Invalid 'audio': expected audio in standard base64.", param="audio") from error


def _recording(item: MessageItem | CallItem | OutputItem, audio_format: AudioFormat) -> bytes:
    """The speech an item brings, in the session's input format. Raises RealtimeFault."""
    try:
        audio = b"".join(b64decode(part, validate=True) for part in spoken_audio(item))
    except ValueError as error:
        message = "Invalid 'item.content': expected audio in standard base64."
        raise RealtimeFault(message, param="item.content") from error
    if len(audio) > MAX_RECORDING_BYTES:
        raise RealtimeFault("Invalid 'item.content': at most 8 MiB of audio.", param="item.content")
    if audio_format.encoding is Encoding.PCM16 and len(audio) % 2:
        raise RealtimeFault("Invalid 'item.content': half a sample at its end.", param="item.content")
    return audio


def _model(kind: str) -> type[AnyMessage]:
    model = MODELS.get(kind)
    if model is None:
        raise RealtimeFault(f"Invalid value: '{kind[:80]}'. There is no such client event here.", param="type")
    return model


def _sent_back(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in {"object", "status"}}
