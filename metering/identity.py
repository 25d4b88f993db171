"""Deterministic identities of usage events. Pure.

The same fact always gets the same id, on every machine and after every crash, which is what lets a retry, a replay
and a recovery be no-ops. Knows nothing of how events are kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from metering.usage import UsageEvent


def event_id(tenant_id: str, request_id: str, corrects: str | None = None) -> str:
    """The id of the event for a request, or of the one correction of the event ``corrects``.

    ``evt_`` and 128 bits of SHA-256 over the length-prefixed parts (so that no two different triples read alike).
    """
    parts = (tenant_id, request_id) if corrects is None else (tenant_id, request_id, corrects)
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(b"%d:" % len(encoded) + encoded)
    return "evt_" + digest.hexdigest()[:32]


def as_correction(original: UsageEvent, restated: UsageEvent) -> UsageEvent:
    """``restated`` as the correction of ``original``: the same turn, told again in full.

    Who and when stay the original's, so every filter selects both or neither; quantities, providers and outcome are
    the restated ones. An event has at most one correction; a correction is mended by correcting it.
    """
    return replace(
        restated,
        event_id=event_id(original.tenant_id, original.request_id, original.event_id),
        request_id=original.request_id,
        tenant_id=original.tenant_id,
        user_id=original.user_id,
        session_id=original.session_id,
        transport=original.transport,
        agent_id=original.agent_id,
        started_at=original.started_at,
        corrects=original.event_id,
    )


def as_abandoned(opened: UsageEvent) -> UsageEvent:
    """The event of a turn whose process died: what was known when it was opened, failed and estimated."""
    return replace(opened, success=False, error_code="internal", estimated=True, interrupted=True)
