"""What happened on the emulator, for tests to read: connections, turns, bytes, what clients sent. Bounded.

Plain values, written by the connections, served as JSON. Secrets are not kept, only how a client proved itself.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from server.azure_emulator.faults import Service

MAX_CONNECTIONS: Final = 500
MAX_KEPT: Final = 20


@dataclass(slots=True)
class ConnectionRecord:
    """One upgrade request and what became of it.

    ``status`` is 101 once accepted, else the HTTP status of the refusal, or 0 while (or if never) answered; ``auth`` is
    ``key``, ``token`` or ``none``; ``received`` counts messages by path, ``sent`` by point; ``closed`` is the close
    code, 1006 for a connection that was cut, ``None`` while it is open.
    """

    number: int
    service: Service | None
    path: str
    query: dict[str, str]
    auth: str
    headers: dict[str, str]
    status: int = 0
    turns: int = 0
    phrases: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    received: Counter[str] = field(default_factory=Counter[str])
    sent: Counter[str] = field(default_factory=Counter[str])
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    contexts: deque[dict[str, Any]] = field(default_factory=lambda: deque[dict[str, Any]](maxlen=MAX_KEPT))
    texts: deque[str] = field(default_factory=lambda: deque[str](maxlen=10 * MAX_KEPT))
    closed: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For ``GET /emulator/state``."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, "contexts": list(self.contexts), "texts": list(self.texts)}


class EmulatorState:
    """The last connections of a run, ``MAX_CONNECTIONS`` of them; ``upgrades`` counts all."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As after the start. Connections that are open go on, uncounted until they send again."""
        self._records: deque[ConnectionRecord] = deque(maxlen=MAX_CONNECTIONS)
        self._count = 0
        self.tokens_issued = 0
        self.voices_listed = 0

    def open(
        self, service: Service | None, path: str, query: Mapping[str, str], auth: str, headers: Mapping[str, str]
    ) -> ConnectionRecord:
        """A client has asked for an upgrade."""
        self._count += 1
        record = ConnectionRecord(self._count, service, path, dict(query), auth, dict(headers))
        self._records.append(record)
        return record

    def as_json(self) -> dict[str, Any]:
        """For ``GET /emulator/state``."""
        records = list(self._records)
        accepted = [record for record in records if record.status == 101]
        return {
            "upgrades": self._count,
            "accepted": len(accepted),
            "refused": sum(record.status not in (0, 101) for record in records),
            "open": sum(record.closed is None for record in accepted),
            "turns": sum(record.turns for record in records),
            "phrases": sum(record.phrases for record in records),
            "bytes_in": sum(record.bytes_in for record in records),
            "bytes_out": sum(record.bytes_out for record in records),
            "tokens_issued": self.tokens_issued,
            "voices_listed": self.voices_listed,
            "connections": [record.as_json() for record in records],
        }
