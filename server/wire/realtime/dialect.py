"""What sets one realtime protocol apart from another: names of events and contents, and the session's configuration.

The codec speaks the GA names; a dialect says what they are called on the wire. Values only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.events import TranscriptUpdated
from server.wire.realtime.settings import RealtimeSettings, ReplySettings


@dataclass(frozen=True, slots=True)
class AskedReply:
    """What ``response.create`` brings, judged.

    ``input`` are items to answer instead of the conversation; ``conversation`` ``none`` keeps the reply out of it.
    ``cancels_previous`` means that a reply under way makes way; ``warnings`` say what is not to be had.
    """

    conversation: str | None = None
    input: tuple[dict[str, Any], ...] | None = None
    metadata: dict[str, str] | None = None
    cancels_previous: bool = False
    warnings: tuple[tuple[str, str], ...] = ()


class SessionConfig(Protocol):
    """A session's configuration in its dialect's own form. Immutable."""

    @property
    def settings(self) -> RealtimeSettings:
        """What it means."""
        ...

    def updated(self, patch: dict[str, Any]) -> SessionConfig:
        """The configuration after ``session.update``. Raises RealtimeFault; nothing has changed then."""
        ...

    def rendered(self) -> dict[str, Any]:
        """The session object as clients read it."""
        ...

    def parse_reply(self, raw: dict[str, Any]) -> tuple[AskedReply, ReplySettings]:
        """What ``response.create`` asks for, and the session's way of replying with it. Raises RealtimeFault."""
        ...

    def response_fields(self, reply: ReplySettings) -> dict[str, Any]:
        """How one response is made, as ``response.created`` tells it."""
        ...

    def transcribed(self, heard: TranscriptUpdated) -> dict[str, Any]:
        """What is told of a finished transcription beside its text."""
        ...

    def warnings(self) -> list[tuple[str, str]]:
        """What was accepted but is not available: parameter and sentence."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A server event that answers a client's at once: its GA name, and its fields."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])


class ClientEvents(Protocol):
    """The client events in which a dialect differs from GA. One per session: some go on from one to the next."""

    @property
    def names(self) -> frozenset[str]:
        """The events it reads; all others are GA's."""
        ...

    def read(self, message: dict[str, Any]) -> list[dict[str, Any] | Answer]:
        """What a client's event means: GA client events to be carried out in order, and answers in between.

        Raises RealtimeFault; nothing has happened then.
        """
        ...


class NoOthers:
    """A dialect whose client events are GA's."""

    names: frozenset[str] = frozenset()

    def read(self, message: dict[str, Any]) -> list[dict[str, Any] | Answer]:
        """As it is."""
        return [message]


def _as_it_is(item: dict[str, Any]) -> dict[str, Any]:
    return item


def _as_named(_: str, body: dict[str, Any]) -> dict[str, Any]:
    return body


@dataclass(frozen=True, slots=True)
class Dialect:
    """``names`` maps GA event names to the dialect's; ``None`` for events it does not have.

    ``read_item`` makes an item of ours of the dialect's; ``dress`` gives an outgoing event (its GA name, and its body)
    the dialect's form; ``client_events`` makes a session's reader of client events that are not GA's. ``warns`` says
    whether there is a ``warning`` event.
    """

    names: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    read_item: Callable[[dict[str, Any]], dict[str, Any]] = _as_it_is
    dress: Callable[[str, dict[str, Any]], dict[str, Any]] = _as_named
    client_events: Callable[[], ClientEvents] = NoOthers
    warns: bool = False

    def name(self, event: str) -> str | None:
        """What an event is called on the wire; ``None`` where there is no such event."""
        return self.names.get(event, event)


GA = Dialect()
