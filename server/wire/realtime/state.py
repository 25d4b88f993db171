"""What a realtime codec remembers of its session: configuration, items, responses under way. Both halves share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.wire.realtime.acts import Tell
from server.wire.realtime.dialect import Dialect, SessionConfig
from server.wire.realtime.faults import RealtimeFault
from server.wire.realtime.items import ItemList
from server.wire.realtime.response import Event, Response
from server.wire.realtime.settings import ReplySettings


@dataclass(frozen=True, slots=True)
class Requested:
    """A response the client asked for that has not begun."""

    reply: ReplySettings
    metadata: Mapping[str, str] | None
    remembered: bool
    event_id: str | None


@dataclass(slots=True)
class RealtimeState:
    """One session's state on the wire. ``new_id`` makes ids that nobody can guess, with a prefix."""

    session_id: str
    config: SessionConfig
    dialect: Dialect
    new_id: Callable[[str], str]
    media: bool = False
    """Whether audio travels beside the messages (WebRTC), not in them."""
    voiceless: bool = False
    """Whether the server has no voice: every response is in writing."""
    items: ItemList = field(default_factory=ItemList)
    responses: dict[str, Response] = field(default_factory=dict[str, Response])
    """Responses under way, by turn."""
    requested: dict[str, Requested] = field(default_factory=dict[str, Requested])
    commit_event_id: str | None = None
    """The client's own id of its last commit, for the word that there was nothing to commit."""
    _sent: int = 0

    @property
    def active(self) -> Response | None:
        """The response that has the floor."""
        return next((response for response in self.responses.values() if not response.aside), None)

    def frame(self, event: Event) -> dict[str, Any] | None:
        """The event as it goes out, numbered; ``None`` where the dialect has no such event."""
        name, fields = event
        on_wire = self.dialect.name(name)
        if on_wire is None:
            return None
        self._sent += 1
        body = {"type": on_wire, "event_id": f"event_{self.session_id[-12:]}{self._sent:06d}", **fields}
        return self.dialect.dress(name, body)

    def frames(self, events: list[Event]) -> list[dict[str, Any]]:
        """Several events as they go out."""
        return [frame for event in events if (frame := self.frame(event)) is not None]

    def tell(self, *events: Event) -> list[Tell]:
        """Several events as the codec's own answers."""
        return [Tell(frame) for frame in self.frames(list(events))]

    def warnings(self, told: Sequence[tuple[str, str]]) -> list[Event]:
        """What is accepted but not available, parameter by parameter, where the dialect has a word for it."""
        if not self.dialect.warns:
            return []
        return [
            ("warning", {"warning": {"code": "not_available", "message": said, "param": param}}) for param, said in told
        ]

    def fault(self, fault: RealtimeFault, event_id: str | None) -> Tell:
        """What the client is told of a message that cannot be taken."""
        [told] = self.tell(("error", {"error": error_json(fault, event_id)}))
        return told


def error_json(fault: RealtimeFault, event_id: str | None = None) -> dict[str, Any]:
    """A fault as OpenAI words it; what does not apply is left out."""
    error = {"type": fault.kind, "code": fault.code, "message": fault.message}
    if fault.param is not None:
        error["param"] = fault.param
    if event_id is not None:
        error["event_id"] = event_id
    return error
