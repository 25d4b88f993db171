"""``/v1/budgets``: how budgets and quotas stand, changing them, and letting somebody go on for a while."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metering.budgets.limits import Override
from metering.budgets.store import BudgetStoreAway
from metering.records import RecordsError
from server.audit import AuditEntry
from server.budgets.rules import new_override_id
from server.budgets.view import change_of, checked_zone, override_of, report
from server.contracts.budgets import BudgetChange, OverrideAnswer, OverrideRequest
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity, require
from server.host import Host
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, read_body, request_id
from server.routes.queries import check_names

_FILTERS = frozenset({"tenant", "user"})


def budget_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""

    async def show(request: Request) -> Response:
        return await _show(host, request)

    async def change(request: Request) -> Response:
        return await _change(host, request)

    async def override(request: Request) -> Response:
        return await _override(host, request)

    async def end(request: Request) -> Response:
        return await _end(host, request)

    return [
        Route("/v1/budgets", show, methods=["GET"]),
        Route("/v1/budgets", change, methods=["PUT", "POST"]),
        Route("/v1/budgets/overrides", override, methods=["POST"]),
        Route("/v1/budgets/overrides/{override_id}", end, methods=["DELETE"]),
    ]


async def _show(host: Host, request: Request) -> Response:
    who, given = caller(request), request.query_params
    check_names(request, _FILTERS)
    user_id = given.get("user") or who.user_id
    own = user_id == who.user_id and given.get("tenant") in (None, who.tenant_id)
    tenant_id = require(who, Permission.USAGE_OWN if own else Permission.USAGE_READ, given.get("tenant"))
    return await _report(host, request, tenant_id, user_id)


async def _change(host: Host, request: Request) -> Response:
    check_names(request, {"tenant"})
    who = caller(request)
    tenant_id = require(who, Permission.BUDGETS_WRITE, request.query_params.get("tenant"))
    wanted = await read_body(request, BudgetChange, host.settings.limits.max_body_bytes)
    changes = tuple(change_of(limit) for limit in wanted.limits)
    _require_global(who, any(each.scope == "global" for each in changes))
    zone_name, rules = checked_zone(wanted.time_zone), host.offices.budgets.rules
    details = wanted.model_dump(exclude_none=True, mode="json")
    try:
        await host.offices.require_tenant(tenant_id)
        if changes:
            entry = AuditEntry(who, "budget.limits_changed", tenant_id, "", details, request_id(request))
            await rules.change(changes, entry)
        if wanted.consent is not None or zone_name is not None:
            entry = AuditEntry(who, "budget.policy_changed", tenant_id, "", details, request_id(request))
            await rules.set_policy(wanted.consent, zone_name, entry)
    except RecordsError as error:
        raise _busy() from error
    return await _report(host, request, tenant_id, who.user_id)


async def _override(host: Host, request: Request) -> Response:
    check_names(request, {"tenant"})
    who, budgets = caller(request), host.offices.budgets
    tenant_id = require(who, Permission.BUDGETS_WRITE, request.query_params.get("tenant"))
    wanted = await read_body(request, OverrideRequest, host.settings.limits.max_body_bytes)
    _require_global(who, wanted.scope == "global")
    if (wanted.scope == "user") != (wanted.user_id is not None):
        raise Refused(ErrorCode.REQUEST_INVALID, "user_id goes with the scope user, and with it only.")
    stands = Override(
        new_override_id(),
        wanted.scope,
        "" if wanted.scope == "global" else tenant_id,
        wanted.user_id or "",
        wanted.percent,
        budgets.epoch_ms() + wanted.minutes * 60_000,
        wanted.reason,
    )
    details = wanted.model_dump(exclude_none=True, mode="json")
    target = stands.override_id
    entry = AuditEntry(who, "budget.override_given", tenant_id, target, details, request_id(request))
    try:
        await host.offices.require_tenant(tenant_id)
        await budgets.rules.override(stands, entry)
    except RecordsError as error:
        raise _busy() from error
    return answer(OverrideAnswer(request_id=request_id(request), override=override_of(stands)), 201, NO_STORE)


async def _end(host: Host, request: Request) -> Response:
    check_names(request, {"tenant"})
    who, budgets = caller(request), host.offices.budgets
    tenant_id = require(who, Permission.BUDGETS_WRITE, request.query_params.get("tenant"))
    override_id: str = request.path_params["override_id"]
    entry = AuditEntry(who, "budget.override_ended", tenant_id, override_id, {}, request_id(request))
    try:
        there = await budgets.rules.end_override(override_id, budgets.epoch_ms(), entry, who.may(Permission.OPERATE))
    except RecordsError as error:
        raise _busy() from error
    if not there:
        raise Refused(ErrorCode.REQUEST_INVALID, "There is no such override that stands.", http_status=404)
    return Response(status_code=204)


async def _report(host: Host, request: Request, tenant_id: str, user_id: str) -> Response:
    try:
        everybodys = caller(request).may(Permission.OPERATE)
        body = await report(host.offices.budgets, tenant_id, user_id, request_id(request), everybodys=everybodys)
    except (RecordsError, BudgetStoreAway) as error:
        raise _busy() from error
    return answer(body, headers=NO_STORE)


def _require_global(who: Identity, wanted: bool) -> None:
    if wanted:
        require(who, Permission.OPERATE)


def _busy() -> Refused:
    return Refused(ErrorCode.SERVER_OVERLOADED, "Budgets cannot be read or changed just now.", retry_after_s=2.0)
