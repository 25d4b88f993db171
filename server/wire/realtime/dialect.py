"""What sets one realtime protocol apart from another: names of events and contents, and the session's configuration.

The codec speaks the GA names; a dialect says what they are called on the wire. Values only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from server.wire.realtime.settings import RealtimeSettings, ReplySettings


class ReplyParamsLike(Protocol):
    """What ``response.create`` brings, judged."""

    @property
    def conversation(self) -> str | None: ...
    @property
    def input(self) -> tuple[dict[str, Any], ...] | None: ...
    @property
    def metadata(self) -> dict[str, str] | None: ...


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

    def parse_reply(self, raw: dict[str, Any]) -> tuple[ReplyParamsLike, ReplySettings]:
        """What ``response.create`` asks for, and the session's way of replying with it. Raises RealtimeFault."""
        ...

    def response_fields(self, reply: ReplySettings) -> dict[str, Any]:
        """How one response is made, as ``response.created`` tells it."""
        ...

    def warnings(self) -> list[tuple[str, str]]:
        """What was accepted but is not available: parameter and sentence."""
        ...


def _as_it_is(item: dict[str, Any]) -> dict[str, Any]:
    return item


def _as_named(_: str, body: dict[str, Any]) -> dict[str, Any]:
    return body


@dataclass(frozen=True, slots=True)
class Dialect:
    """``names`` maps GA event names to the dialect's; ``None`` for events it does not have.

    ``read_item`` makes an item of ours of the dialect's; ``dress`` gives an outgoing event (its GA name, and its body)
    the dialect's form; ``client_names`` maps names of client events to GA's. ``warns`` says whether there is a
    ``warning`` event.
    """

    names: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    read_item: Callable[[dict[str, Any]], dict[str, Any]] = _as_it_is
    dress: Callable[[str, dict[str, Any]], dict[str, Any]] = _as_named
    client_names: Mapping[str, str] = field(default_factory=dict[str, str])
    warns: bool = False

    def name(self, event: str) -> str | None:
        """What an event is called on the wire; ``None`` where there is no such event."""
        return self.names.get(event, event)


GA = Dialect()
