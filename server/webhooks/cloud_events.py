"""Usage events as CloudEvents 1.0 in the shape OpenMeter ingests: structured JSON, one or a batch. Pure.

``type`` says what it is, ``source`` which installation, ``subject`` whose it is (the tenant), ``id`` is the usage
event's, which stays the same however often it is sent: receivers drop what they have by ``source`` and ``id``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from metering.codec import COUNT_FIELDS, PART_FIELDS, dumps, to_dict
from metering.ledger import is_unclaimed
from metering.report import timestamp
from metering.usage import UsageEvent

TURN: Final = "convergio.usage.turn"
CORRECTION: Final = "convergio.usage.correction"
ONE: Final = "application/cloudevents+json; charset=utf-8"
BATCH: Final = "application/cloudevents-batch+json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Message:
    """What one request carries. ``id`` is the same for the same events."""

    id: str
    content_type: str
    body: bytes


def cloud_event(event: UsageEvent, source: str, corrected: UsageEvent | None = None) -> dict[str, Any]:
    """One event. A correction restates the turn; beside it stands the ``difference`` to what it corrects.

    ``turns`` is what a receiver adds up to know how many there were: 0 where the event closes a session, which nearly
    every one by voice has, and in the difference a correction makes.

    Whoever keeps the newest event per turn takes the restated figures; whoever adds up takes the differences.
    """
    data = to_dict(event) | {"turns": 0 if is_unclaimed(event) else 1}
    if corrected is not None:
        names = (*COUNT_FIELDS, *PART_FIELDS)
        data["difference"] = {name: getattr(event, name) - getattr(corrected, name) for name in names} | {"turns": 0}
    return {
        "specversion": "1.0",
        "type": TURN if event.corrects is None else CORRECTION,
        "source": source,
        "subject": event.tenant_id,
        "id": event.event_id,
        "time": timestamp(event.started_at),
        "datacontenttype": "application/json",
        "data": data,
    }


def message(events: Sequence[dict[str, Any]], *, batched: bool) -> Message:
    """The request for these events, at least one."""
    if not batched:
        (event,) = events
        return Message(event["id"], ONE, dumps(event).encode())
    ids = "\n".join(event["id"] for event in events)
    batch_id = "bat_" + hashlib.sha256(ids.encode()).hexdigest()[:32]
    return Message(batch_id, BATCH, dumps(list(events)).encode())
