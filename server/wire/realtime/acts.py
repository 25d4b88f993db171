"""What a realtime client asked for, beyond what every protocol has: values a codec yields and the edge carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.models.port import Message
from server.wire.client_events import AudioIn, Cancel, Commit
from server.wire.realtime.settings import RealtimeSettings, ReplySettings


@dataclass(frozen=True, slots=True)
class Configure:
    """The session is this from now on."""

    settings: RealtimeSettings


@dataclass(frozen=True, slots=True)
class ClearInput:
    """What was heard and not committed is taken back."""


@dataclass(frozen=True, slots=True)
class ClearOutput:
    """What is being said stops at once."""


@dataclass(frozen=True, slots=True)
class AddItem:
    """A message becomes part of the conversation, after the item ``after`` (``None``: last; empty: first).

    ``audio`` is speech in the session's input format that is to be recognised for its words.
    """

    item_id: str
    message: Message
    after: str | None
    audio: bytes = b""


@dataclass(frozen=True, slots=True)
class RemoveItem:
    """An item is no part of the conversation any more."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Truncate:
    """The client played no more than ``audio_ms`` of a reply. ``content_index`` only goes back into the answer."""

    item_id: str
    audio_ms: int
    content_index: int


@dataclass(frozen=True, slots=True)
class Respond:
    """The agent is to reply, as the turn ``turn_id``.

    ``messages`` are answered instead of the conversation; a reply that is not ``remembered`` leaves no trace in it.
    """

    turn_id: str
    reply: ReplySettings
    messages: tuple[Message, ...] | None = None
    remembered: bool = True


@dataclass(frozen=True, slots=True)
class Tell:
    """The codec's own answer, to go out in order with everything else."""

    body: Mapping[str, Any]


Act = (
    AudioIn | Commit | Cancel | Configure | ClearInput | ClearOutput | AddItem | RemoveItem | Truncate | Respond | Tell
)
