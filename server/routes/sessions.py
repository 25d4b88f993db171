"""``/v1/sessions``: stored conversations, listed, read, as captions, as sound, deleted.

One's own, or the tenant's by permission. What one may not see is not there: somebody else's conversation is answered
like one that never was.
"""

from __future__ import annotations

from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from metering.rollup import DAY_MS
from server.audit import AuditEntry
from server.contracts.errors import ErrorCode
from server.contracts.privacy import (
    ConversationEntry,
    ConversationList,
    ConversationResponse,
    StoredConversation,
    StoredRecording,
)
from server.conversations.captions import MEDIA_TYPE, webvtt
from server.conversations.store import MOST_LISTED, ConversationQuery
from server.conversations.tables import Conversation, Entry, Recording
from server.errors import Refused
from server.guard import Identity, require
from server.host import Host
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, request_id
from server.routes.privacy_answers import CONFLICT, NOT_FOUND, RETRY_AFTER_S, refusing

FLUSH_LIMIT_S: Final = 2.0
PAGE: Final = 50
_FILTERS: Final = frozenset({"user", "agent", "since_ms", "until_ms", "cursor", "limit", "tenant"})


def session_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""

    async def listed(request: Request) -> Response:
        query = _query(request)
        with refusing():
            found = await host.offices.privacy.conversations.page(query)
        shown = found[: query.limit]
        cursor = f"{shown[-1].started_at_ms}.{shown[-1].session_id}" if len(found) > len(shown) else None
        with refusing():
            recorded = await host.offices.privacy.recordings.of([each.session_id for each in shown])
        told = tuple(_told(host, request, each, recorded.get(each.session_id)) for each in shown)
        body = ConversationList(request_id=request_id(request), conversations=told, cursor=cursor)
        return answer(body, headers=NO_STORE)

    async def one(request: Request) -> Response:
        conversation, entries = await _read(host, request)
        body = ConversationResponse(
            request_id=request_id(request),
            conversation=_told(host, request, conversation, await _recording_of(host, conversation)),
            entries=tuple(map(_entry, entries)),
        )
        return answer(body, headers=NO_STORE)

    async def captions(request: Request) -> Response:
        _, entries = await _read(host, request)
        return Response(webvtt(entries), headers=NO_STORE, media_type=MEDIA_TYPE)

    async def recording(request: Request) -> Response:
        conversation = await _find(host, request)
        found = await _recording_of(host, conversation)
        if found is None:
            raise _no_sound("Nothing of this conversation was recorded.")
        if found.ended_at_ms is None:
            words = "The conversation is still being recorded."
            raise Refused(ErrorCode.REQUEST_INVALID, words, http_status=CONFLICT, retry_after_s=RETRY_AFTER_S)
        path = host.offices.privacy.recordings.path(found)
        if not await anyio.Path(path).is_file():
            raise _no_sound("The recording is not on this server.")
        details = {"recording_id": found.recording_id}
        session_id = found.session_id
        entry = AuditEntry(caller(request), "recording.read", found.tenant_id, session_id, details, request_id(request))
        with refusing():
            await host.offices.audit.record(entry)
        return FileResponse(path, headers=NO_STORE, media_type="audio/wav", filename=f"{session_id}.wav")

    async def delete(request: Request) -> Response:
        conversation = await _find(host, request)
        with refusing():
            await host.offices.privacy.delete_conversation(caller(request), conversation, request_id(request))
        return Response(status_code=204)

    return [
        Route("/v1/sessions", listed, methods=["GET"]),
        Route("/v1/sessions/{session_id}", one, methods=["GET"]),
        Route("/v1/sessions/{session_id}", delete, methods=["DELETE"]),
        Route("/v1/sessions/{session_id}/captions.vtt", captions, methods=["GET"]),
        Route("/v1/sessions/{session_id}/recording", recording, methods=["GET"]),
    ]


async def _read(host: Host, request: Request) -> tuple[Conversation, list[Entry]]:
    conversation = await _find(host, request)
    with refusing():
        return conversation, await host.offices.privacy.conversations.entries(conversation.session_id)


async def _recording_of(host: Host, conversation: Conversation) -> Recording | None:
    session_id = conversation.session_id
    with refusing():
        return (await host.offices.privacy.recordings.of([session_id])).get(session_id)


def _no_sound(words: str) -> Refused:
    return Refused(ErrorCode.REQUEST_INVALID, words, http_status=NOT_FOUND)


async def _find(host: Host, request: Request) -> Conversation:
    """The conversation the path names, up to this moment, if the caller may see it. Raises Refused."""
    who, session_id = caller(request), str(request.path_params["session_id"])
    require(who, Permission.PRIVACY_OWN)
    office = host.offices.privacy
    await office.scribe.flush(FLUSH_LIMIT_S, session_id)
    with refusing():
        found = await office.conversations.find(session_id)
    if found is None or not _may_see(who, found):
        raise Refused(ErrorCode.SESSION_NOT_FOUND, "There is no such conversation, or none that is kept.")
    return found


def _may_see(who: Identity, conversation: Conversation) -> bool:
    if (who.tenant_id, who.user_id) == (conversation.tenant_id, conversation.user_id):
        return True
    if not who.may(Permission.PRIVACY_WRITE):
        return False
    return who.tenant_id == conversation.tenant_id or who.may(Permission.OPERATE)


def _query(request: Request) -> ConversationQuery:
    given, who = request.query_params, caller(request)
    if unknown := sorted(set(given) - _FILTERS):
        raise Refused(ErrorCode.REQUEST_INVALID, f"There is no filter called {unknown[0][:40]}.")
    require(who, Permission.PRIVACY_OWN)
    tenant_id, user_id = given.get("tenant", who.tenant_id), given.get("user")
    if tenant_id != who.tenant_id or user_id not in (None, who.user_id):
        require(who, Permission.PRIVACY_WRITE, tenant_id)
    elif not who.may(Permission.PRIVACY_WRITE):
        user_id = who.user_id
    limit = _whole(given.get("limit"), "limit")
    if limit is not None and not 1 <= limit <= MOST_LISTED:
        raise Refused(ErrorCode.REQUEST_INVALID, f"limit must be 1 to {MOST_LISTED}.")
    return ConversationQuery(
        tenant_id,
        user_id,
        given.get("agent"),
        _whole(given.get("since_ms"), "since_ms"),
        _whole(given.get("until_ms"), "until_ms"),
        _after(given.get("cursor")),
        limit or PAGE,
    )


def _after(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    at_ms, _, session_id = cursor.partition(".")
    if not session_id or len(cursor) > 200:
        raise Refused(ErrorCode.REQUEST_INVALID, "cursor is not one of ours.")
    return _whole(at_ms, "cursor") or 0, session_id


def _whole(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refused(ErrorCode.REQUEST_INVALID, f"{name} must be a whole number.")
    return int(text)


def _told(host: Host, request: Request, conversation: Conversation, recording: Recording | None) -> StoredConversation:
    office = host.offices.privacy
    tenant_type = office.type_of(conversation.tenant_id, caller(request))
    policy = office.retention.of(conversation.tenant_id, tenant_type)
    names = ("session_id", "tenant_id", "user_id", "agent_id", "transport")
    moments = ("started_at_ms", "last_at_ms", "ended_at_ms", "lost")
    plain = {name: getattr(conversation, name) for name in (*names, *moments)}
    kept_until_ms = conversation.last_at_ms + policy.conversation_days * DAY_MS
    return StoredConversation(
        **plain, kept_until_ms=kept_until_ms, recording=None if recording is None else _sound(recording)
    )


def _sound(recording: Recording) -> StoredRecording:
    return StoredRecording(**{name: getattr(recording, name) for name in StoredRecording.model_fields})


def _entry(entry: Entry) -> ConversationEntry:
    return ConversationEntry(
        item_id=entry.item_id,
        turn_id=entry.turn_id,
        speaker=entry.speaker,
        text=entry.text,
        at_ms=entry.at_ms,
        start_ms=entry.cues[0].start_ms if entry.cues else None,
        end_ms=entry.cues[-1].end_ms if entry.cues else None,
        interrupted=entry.interrupted,
        final=entry.final,
    )
