"""Every route and socket of the application, and who may use it: a row for each, or the test of isolation fails.

``needs`` is the permission whose lack is answered with ``auth.forbidden``; ``operator``: it takes the operator;
``open``: anybody may. ``path`` has ``{ids}`` where the route has some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.permissions import Permission

TALK = Permission.TALK
KEYS = Permission.IDENTITY_WRITE
SOCKET = "SOCKET"


@dataclass(frozen=True)
class Row:
    """One method of one path. ``body`` is JSON that the route takes, where it takes any."""

    method: str
    path: str
    needs: Permission | None = None
    operator: bool = False
    open: bool = False
    body: Mapping[str, Any] | None = None


_REALTIME = ("/v1/realtime", "/openai/v1/realtime")
_CARRIERS = ("acs/callbacks", "acs/events", "twilio/status", "twilio/voice", "twilio/whisper")
"""Carriers prove themselves in their own ways, which tests/e2e/test_phone_*.py try: our keys are nothing to them."""

ROWS = (
    Row("GET", "/healthz", open=True),
    Row("GET", "/readyz", open=True),
    Row("GET", "/metrics", operator=True),
    Row("GET", "/v1/agents"),
    Row("POST", "/v1/chat", needs=TALK, body={"prompt": "hello"}),
    Row("POST", "/v1/chat/stream", needs=TALK, body={"prompt": "hello"}),
    Row("GET", "/v1/latency/report", needs=Permission.USAGE_OWN),
    Row("GET", "/v1/latency-budgets", needs=TALK),
    Row("GET", "/v1/budgets", needs=Permission.USAGE_OWN),
    Row("PUT", "/v1/budgets", needs=Permission.BUDGETS_WRITE, body={}),
    Row("POST", "/v1/budgets", needs=Permission.BUDGETS_WRITE, body={}),
    Row("POST", "/v1/budgets/overrides", needs=Permission.BUDGETS_WRITE, body={"minutes": 1, "reason": "a test"}),
    Row("DELETE", "/v1/budgets/overrides/{override_id}", needs=Permission.BUDGETS_WRITE),
    Row("GET", "/v1/provider-keys", needs=Permission.PROVIDER_KEYS),
    Row("POST", "/v1/provider-keys", needs=Permission.PROVIDER_KEYS, body={}),
    Row("GET", "/v1/provider-keys/{key_id}", needs=Permission.PROVIDER_KEYS),
    Row("DELETE", "/v1/provider-keys/{key_id}", needs=Permission.PROVIDER_KEYS),
    Row("POST", "/v1/provider-keys/{key_id}/rotate", needs=Permission.PROVIDER_KEYS, body={}),
    Row("POST", "/v1/provider-keys/{key_id}/check", needs=Permission.PROVIDER_KEYS, body={}),
    Row("GET", "/v1/sessions", needs=Permission.PRIVACY_OWN),
    Row("GET", "/v1/sessions/{session_id}", needs=Permission.PRIVACY_OWN),
    Row("DELETE", "/v1/sessions/{session_id}", needs=Permission.PRIVACY_OWN),
    Row("GET", "/v1/sessions/{session_id}/captions.vtt", needs=Permission.PRIVACY_OWN),
    Row("GET", "/v1/sessions/{session_id}/recording", needs=Permission.PRIVACY_OWN),
    Row("POST", "/v1/privacy/export", needs=Permission.PRIVACY_OWN, body={}),
    Row("POST", "/v1/privacy/delete", needs=Permission.PRIVACY_WRITE, body={"user_id": "nobody"}),
    Row("GET", "/v1/privacy/jobs/{job_id}", needs=Permission.PRIVACY_OWN),
    Row("GET", "/v1/privacy/jobs/{job_id}/download", needs=Permission.PRIVACY_OWN),
    Row("GET", "/v1/privacy/policy", needs=Permission.PRIVACY_OWN),
    Row("POST", "/v1/privacy/policy", needs=Permission.PRIVACY_WRITE, body={}),
    Row("POST", "/v1/privacy/purge", needs=Permission.PRIVACY_WRITE, body={}),
    Row("GET", "/v1/privacy/consents"),  # one's own with one permission, anybody's with another
    Row("POST", "/v1/privacy/consents", needs=Permission.PRIVACY_OWN, body={"wording": "w", "wording_version": "1"}),
    Row("DELETE", "/v1/privacy/consents/{consent_id}", needs=Permission.PRIVACY_OWN),
    Row("GET", "/v1/privacy/holds", needs=Permission.PRIVACY_WRITE),
    Row("POST", "/v1/privacy/holds", needs=Permission.PRIVACY_WRITE, body={"reason": "a lawsuit"}),
    Row("DELETE", "/v1/privacy/holds/{hold_id}", needs=Permission.PRIVACY_WRITE),
    Row("GET", "/v1/usage/current", needs=Permission.USAGE_OWN),
    Row("GET", "/v1/usage/events", needs=Permission.USAGE_READ),
    Row("GET", "/v1/usage/report", needs=Permission.USAGE_READ),
    Row("GET", "/v1/usage/invoices/{period}", needs=Permission.USAGE_READ),
    Row("POST", "/v1/calls", needs=Permission.CALLS, body={"to": "+1"}),
    Row("GET", "/v1/calls/{call_id}", needs=Permission.CALLS),
    Row("DELETE", "/v1/calls/{call_id}", needs=Permission.CALLS),
    Row("POST", "/v1/auth/login", open=True, body={"api_key": "cv_live_none"}),
    Row("POST", "/v1/auth/logout"),
    Row("GET", "/v1/me"),
    Row("POST", "/v1/sessions", needs=TALK, body={}),
    Row("GET", "/v1/keys", needs=KEYS),
    Row("POST", "/v1/keys", needs=KEYS, body={"name": "app"}),
    Row("DELETE", "/v1/keys/{key_id}", needs=KEYS),
    Row("GET", "/v1/users", needs=KEYS),
    Row("POST", "/v1/users", needs=KEYS, body={"name": "Ben"}),
    Row("PATCH", "/v1/users/{user_id}", needs=KEYS, body={"name": "Eve"}),
    Row("GET", "/v1/tenants", operator=True),
    Row("POST", "/v1/tenants", operator=True, body={"name": "x", "type": "business"}),
    Row("PATCH", "/v1/tenants/{tenant_id}", operator=True, body={"name": "Renamed"}),
    Row("GET", "/v1/audit", needs=Permission.AUDIT_READ),
    Row("GET", "/v1/audit/verification", operator=True),
    Row("GET", "/v1/voice/webrtc/ice-servers", needs=TALK),
    Row("POST", "/v1/voice/webrtc", needs=TALK),
    Row("PATCH", "/v1/voice/webrtc/{call_id}"),
    Row("DELETE", "/v1/voice/webrtc/{call_id}"),
    *(Row("POST", f"{prefix}/client_secrets", needs=TALK, body={}) for prefix in _REALTIME),
    *(Row("POST", f"{prefix}/calls", needs=TALK) for prefix in _REALTIME),
    *(Row("POST", prefix + "/calls/{call_id}/hangup") for prefix in _REALTIME),
    *(Row("POST", f"/v1/phone/{path}", open=True, body={}) for path in _CARRIERS),
    Row(SOCKET, "/v1/phone/{carrier}", open=True),
    Row(SOCKET, "/v1/voice/ws", needs=TALK),
    Row(SOCKET, "/v1/ws", needs=TALK),
    Row(SOCKET, "/v1/realtime", needs=TALK),
    Row(SOCKET, "/openai/realtime", needs=TALK),
    Row(SOCKET, "/openai/v1/realtime", needs=TALK),
    Row(SOCKET, "/voice-live/realtime", needs=TALK),
    Row("MOUNT", "/docs/contracts", open=True),
    Row("MOUNT", "", open=True),
)
"""The mounts are the page's files and the published contracts: nothing of anybody's."""
