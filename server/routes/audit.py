"""``/v1/audit``: what was done by whom, page by page; and whether the log is as it was written."""

from __future__ import annotations

import json
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.audit import AuditQuery, AuditRecord
from server.contracts.errors import ErrorCode
from server.contracts.identity import AuditItem, AuditPage, AuditVerification
from server.errors import Refused
from server.guard import require
from server.host import Host
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, request_id
from server.routes.queries import check_names, page_limit, tenant_asked, whole_number

VERIFY_LIMIT_S: Final = 30.0
_FAR: Final = 2**53 - 1
_FILTERS: Final = frozenset({"tenant", "action", "actor", "since_ms", "until_ms", "order", "cursor", "limit"})


def audit_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""
    one_at_a_time = anyio.CapacityLimiter(1)  # the whole log is read

    async def page(request: Request) -> Response:
        query = _query(request)
        rows = await host.offices.audit.find(query)
        more = len(rows) == query.limit
        body = AuditPage(
            request_id=request_id(request),
            entries=tuple(_item(row) for row in rows),
            next_cursor=str(rows[-1].sequence) if more else None,
        )
        return answer(body, headers=NO_STORE)

    async def verification(request: Request) -> Response:
        who = caller(request)
        require(who, Permission.AUDIT_READ)
        require(who, Permission.OPERATE)
        try:
            with anyio.fail_after(VERIFY_LIMIT_S):
                async with one_at_a_time:
                    bad = await host.offices.audit.verify()
        except TimeoutError as error:
            words = "The log is too long to be verified here; run convergio-voice audit verify."
            raise Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=VERIFY_LIMIT_S) from error
        body = AuditVerification(request_id=request_id(request), intact=bad is None, first_bad_sequence=bad)
        return answer(body, headers=NO_STORE)

    return [
        Route("/v1/audit", page, methods=["GET"]),
        Route("/v1/audit/verification", verification, methods=["GET"]),
    ]


def _query(request: Request) -> AuditQuery:
    check_names(request, _FILTERS)
    tenant_id = tenant_asked(request, caller(request), Permission.AUDIT_READ)
    given = request.query_params
    order = given.get("order", "asc")
    if order not in {"asc", "desc"}:
        raise Refused(ErrorCode.REQUEST_INVALID, "order must be asc or desc.")
    return AuditQuery(
        tenant_id=tenant_id,
        action=given.get("action", ""),
        actor_id=given.get("actor"),
        since_ms=whole_number(request, "since_ms", 0, _FAR),
        until_ms=whole_number(request, "until_ms", 0, _FAR),
        newest_first=order == "desc",
        cursor=whole_number(request, "cursor", 0, _FAR),
        limit=page_limit(request),
    )


def _item(row: AuditRecord) -> AuditItem:
    return AuditItem(
        sequence=row.sequence,
        at_ms=row.at_ms,
        tenant_id=row.tenant_id,
        actor_tenant_id=row.actor_tenant_id,
        actor_id=row.actor_id,
        action=row.action,
        target=row.target,
        details=json.loads(row.details),
        request_id=row.request_id,
        hash=row.hash,
    )
