"""The routes about stored conversations and people's data, as data: a part of ``server.contracts.http_routes``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.contracts.errors import ErrorCode
from server.contracts.http_route import HttpRoute, QueryParameter
from server.contracts.privacy import (
    ConsentList,
    ConsentRequest,
    ConsentResponse,
    ConversationList,
    ConversationResponse,
    HoldList,
    HoldRequest,
    HoldResponse,
    PersonRequest,
    PrivacyJob,
    PurgeRequest,
    PurgeResponse,
    RetentionRequest,
    RetentionResponse,
)

_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_MOMENT: Final[Mapping[str, Any]] = {"type": "integer", "minimum": 0}
_TENANT: Final = QueryParameter("tenant", "Of this tenant; other than one's own with the operator's keys only.", _TEXT)
_USER: Final = QueryParameter("user", "Of this person; other than oneself with `privacy.write`.", _TEXT)
_READ: Final = (ErrorCode.REQUEST_INVALID, ErrorCode.SERVER_OVERLOADED)
_WRITE: Final = (*_READ, ErrorCode.REQUEST_TOO_LARGE)
_ONE: Final = (*_READ, ErrorCode.SESSION_NOT_FOUND)

PRIVACY_ROUTES: Final = (
    HttpRoute(
        "get",
        "/v1/sessions",
        "listSessions",
        "Stored conversations, newest first: one's own, or the tenant's with `privacy.write`",
        {200: ConversationList},
        query=(
            _USER,
            QueryParameter("agent", "With this agent only.", _TEXT),
            QueryParameter("since_ms", "Begun at this moment or later (epoch milliseconds).", _MOMENT),
            QueryParameter("until_ms", "Begun before this moment.", _MOMENT),
            QueryParameter("cursor", "Behind these: `cursor` of the page before.", _TEXT),
            QueryParameter("limit", "So many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
            _TENANT,
        ),
        errors=_READ,
    ),
    HttpRoute(
        "get",
        "/v1/sessions/{session_id}",
        "readSession",
        "A stored conversation, also while it goes on",
        {200: ConversationResponse},
        errors=_ONE,
    ),
    HttpRoute(
        "delete",
        "/v1/sessions/{session_id}",
        "deleteSession",
        "Delete a conversation; one that goes on is ended. 409 and `details.holds` where a legal hold keeps it",
        media_type="",
        success=204,
        errors=_ONE,
    ),
    HttpRoute(
        "get",
        "/v1/sessions/{session_id}/captions.vtt",
        "sessionCaptions",
        "A conversation as captions (WebVTT), also while it goes on",
        media_type="text/vtt",
        errors=_ONE,
    ),
    HttpRoute(
        "get",
        "/v1/sessions/{session_id}/recording",
        "sessionRecording",
        "The sound of a recorded conversation: a stereo WAV, the caller left, the agent right. 404 where nothing was "
        "recorded, 409 while it is being made; each reading is in the audit log",
        media_type="audio/wav",
        errors=_ONE,
    ),
    HttpRoute(
        "post",
        "/v1/privacy/export",
        "exportPerson",
        "Everything that is kept of a person, as a ZIP made in the background",
        {202: PrivacyJob},
        request=PersonRequest,
        success=202,
        errors=_WRITE,
    ),
    HttpRoute(
        "post",
        "/v1/privacy/delete",
        "deletePerson",
        "Delete a person: conversations go, usage gets a pseudonym. 409 and `details.holds` where a hold keeps it all",
        {202: PrivacyJob},
        request=PersonRequest,
        success=202,
        errors=_WRITE,
    ),
    HttpRoute(
        "get",
        "/v1/privacy/jobs/{job_id}",
        "readPrivacyJob",
        "How far an export or a deletion is",
        {200: PrivacyJob},
        errors=_READ,
    ),
    HttpRoute(
        "get",
        "/v1/privacy/jobs/{job_id}/download",
        "downloadExport",
        "A finished export, for who asked for it, while it is kept",
        media_type="application/zip",
        errors=_READ,
    ),
    HttpRoute(
        "get",
        "/v1/privacy/policy",
        "readRetention",
        "How long a tenant's data is kept",
        {200: RetentionResponse},
        query=(_TENANT,),
        errors=(ErrorCode.REQUEST_INVALID,),
    ),
    HttpRoute(
        "post",
        "/v1/privacy/policy",
        "chooseRetention",
        "Choose how long a tenant's data is kept, within what its type allows",
        {200: RetentionResponse},
        request=RetentionRequest,
        errors=_WRITE,
    ),
    HttpRoute(
        "post",
        "/v1/privacy/purge",
        "purge",
        "Take out now what is older than the policy says",
        {200: PurgeResponse},
        request=PurgeRequest,
        errors=_WRITE,
    ),
    HttpRoute(
        "get",
        "/v1/privacy/consents",
        "listConsents",
        "Who agreed to be recorded, and to which words",
        {200: ConsentList},
        query=(_USER, _TENANT),
        errors=_READ,
    ),
    HttpRoute(
        "post",
        "/v1/privacy/consents",
        "giveConsent",
        "Agree to be recorded",
        {201: ConsentResponse},
        request=ConsentRequest,
        success=201,
        errors=_WRITE,
    ),
    HttpRoute(
        "delete",
        "/v1/privacy/consents/{consent_id}",
        "withdrawConsent",
        "Agree no longer; a recording under way ends",
        {200: ConsentResponse},
        query=(_TENANT,),
        errors=_READ,
    ),
    HttpRoute(
        "get",
        "/v1/privacy/holds",
        "listHolds",
        "Legal holds, lifted ones too",
        {200: HoldList},
        query=(_TENANT,),
        errors=_READ,
    ),
    HttpRoute(
        "post",
        "/v1/privacy/holds",
        "placeHold",
        "Keep a tenant's, a person's or a conversation's data from being purged or deleted",
        {201: HoldResponse},
        request=HoldRequest,
        success=201,
        errors=_WRITE,
    ),
    HttpRoute(
        "delete",
        "/v1/privacy/holds/{hold_id}",
        "liftHold",
        "Lift a legal hold",
        {200: HoldResponse},
        query=(_TENANT,),
        errors=_READ,
    ),
)
"""In the order they are told."""
