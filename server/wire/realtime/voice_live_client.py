"""The client events Voice Live has beyond OpenAI's, as what they mean in those: turns of audio, streamed text.

I/O-free; one reader per session, since a turn and a text go on over several events. Reference: the client events of
Microsoft's ``azure-ai-voicelive`` client (1.3.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from server.wire.realtime.client_messages import APPEND, ClientMessage
from server.wire.realtime.dialect import Answer
from server.wire.realtime.faults import RealtimeFault, from_validation
from server.wire.realtime.items import ItemId, parse_item

MAX_TEXT_CHARS: Final = 100_000
MAX_TEXTS: Final = 8
"""Texts that may be under way at once."""
MAX_APPENDED: Final = 100

Meaning = list[dict[str, Any] | Answer]
_NOT_HERE: Final = {
    "session.avatar.connect": "There is no avatar to connect to; the answer is audio and text.",
    "mcp_approval_response": "There are no MCP servers here, and nothing to approve.",
}


class _Turn(ClientMessage):
    turn_id: Annotated[str, Field(min_length=1, max_length=128)]


class _TurnAudio(_Turn):
    audio: str


class _TextPiece(ClientMessage):
    id: ItemId
    delta: Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
    content_index: Literal[0] | None = None


class _TextEnd(ClientMessage):
    id: ItemId
    content_index: Literal[0] | None = None


class _Respond(ClientMessage):
    response: dict[str, Any] | None = None
    additional_instructions: str | None = None


class VoiceLiveClientEvents:
    """Reads one session's events of this kind."""

    def __init__(self) -> None:
        self._turn: str | None = None
        self._texts: dict[str, str] = {}
        self._readers: dict[str, Callable[[dict[str, Any]], Meaning]] = {
            "input_audio.turn.start": self._start_turn,
            "input_audio.turn.append": self._append_to_turn,
            "input_audio.turn.end": self._end_turn,
            "input_audio.turn.cancel": self._cancel_turn,
            "input_audio.clear": self._clear,
            "input_text.delta": self._add_text,
            "input_text.done": self._end_text,
            "output_audio_buffer.clear": self._clear_output,
            "response.create": self._respond,
        }
        self.names = frozenset(self._readers) | _NOT_HERE.keys()

    def read(self, message: dict[str, Any]) -> Meaning:
        """What one event means. Raises RealtimeFault; nothing has happened then."""
        kind: str = message["type"]
        if (sentence := _NOT_HERE.get(kind)) is not None:
            raise RealtimeFault(sentence, code="not_available", param="type")
        try:
            return self._readers[kind](message)
        except ValidationError as error:
            raise from_validation(error) from error

    # --- audio in turns: the client says where one begins and ends ---

    def _start_turn(self, message: dict[str, Any]) -> Meaning:
        turn_id = _Turn.model_validate(message).turn_id
        if self._turn is not None:
            raise RealtimeFault(
                f"The turn '{self._turn}' goes on; end or cancel it first.",
                code="input_audio_turn_in_progress",
                param="turn_id",
            )
        self._turn = turn_id
        return []

    def _append_to_turn(self, message: dict[str, Any]) -> Meaning:
        piece = _TurnAudio.model_validate(message)
        self._require(piece.turn_id)
        return [{"type": APPEND, "audio": piece.audio}]

    def _end_turn(self, message: dict[str, Any]) -> Meaning:
        self._require(_Turn.model_validate(message).turn_id)
        self._turn = None
        return [{"type": "input_audio_buffer.commit"}]

    def _cancel_turn(self, message: dict[str, Any]) -> Meaning:
        self._require(_Turn.model_validate(message).turn_id)
        return self._clear(message)

    def _clear(self, _: dict[str, Any]) -> Meaning:
        self._turn = None
        return [{"type": "input_audio_buffer.clear"}]

    def _require(self, turn_id: str) -> None:
        if turn_id != self._turn:
            raise RealtimeFault(
                f"There is no turn '{turn_id}' under way; begin it with 'input_audio.turn.start'.",
                code="input_audio_turn_not_found",
                param="turn_id",
            )

    # --- text in pieces: a message of the user's ---

    def _add_text(self, message: dict[str, Any]) -> Meaning:
        piece = _TextPiece.model_validate(message)
        if piece.id not in self._texts and len(self._texts) >= MAX_TEXTS:
            raise RealtimeFault("Too many texts are under way; end one first.", code="rate_limit_exceeded", param="id")
        text = self._texts.get(piece.id, "") + piece.delta
        if len(text) > MAX_TEXT_CHARS:
            raise RealtimeFault("The text is too long.", code="string_above_max_length", param="delta")
        self._texts[piece.id] = text
        return []

    def _end_text(self, message: dict[str, Any]) -> Meaning:
        end = _TextEnd.model_validate(message)
        text = self._texts.pop(end.id, None)
        if text is None:
            raise RealtimeFault("No text of this id is under way.", code="item_not_found", param="id")
        item = {"type": "message", "role": "user", "id": end.id, "content": [{"type": "input_text", "text": text}]}
        return [{"type": "conversation.item.create", "item": item}]

    # --- answers ---

    def _clear_output(self, _: dict[str, Any]) -> Meaning:
        return [{"type": "output_audio_buffer.clear"}, Answer("output_audio_buffer.cleared")]

    def _respond(self, message: dict[str, Any]) -> Meaning:
        asked = _Respond.model_validate(message)
        response = dict(asked.response or {})
        _refuse_what_is_not_here(response)
        if asked.additional_instructions is not None:
            response["additional_instructions"] = asked.additional_instructions
        appended: Any = response.pop("append_input_items", None) or ()
        if not isinstance(appended, (list, tuple)) or len(appended) > MAX_APPENDED:  # pyright: ignore
            message_ = f"Invalid 'response.append_input_items': expected a list of at most {MAX_APPENDED} items."
            raise RealtimeFault(message_, param="response.append_input_items")
        items: list[Any] = [*appended]
        for index, item in enumerate(items):
            parse_item(item, f"response.append_input_items[{index}]")
        created: Meaning = [{"type": "conversation.item.create", "item": item} for item in items]
        return [*created, {"type": "response.create", "event_id": asked.event_id, "response": response}]


def _refuse_what_is_not_here(response: dict[str, Any]) -> None:
    for name, sentence in (
        ("pre_generated_assistant_message", "The agent says nothing that was written for it; ask it instead."),
        ("invoke_input", "There is no hosted agent to invoke."),
    ):
        if response.pop(name, None) is not None:
            raise RealtimeFault(sentence, code="not_available", param=f"response.{name}")
