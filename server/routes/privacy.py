"""``/v1/privacy``: people's data exported and deleted, how long it is kept, legal holds, consents, purges.

About oneself with ``privacy.own``; about anybody in the tenant, and the tenant's own rules, with ``privacy.write``;
about another tenant with the operator's keys.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server.contracts.errors import ErrorCode
from server.contracts.privacy import (
    ConsentList,
    ConsentRequest,
    ConsentResponse,
    HoldList,
    HoldRequest,
    HoldResponse,
    LegalHold,
    PersonRequest,
    PrivacyJob,
    PurgeRequest,
    PurgeResponse,
    RecordingConsent,
    RetentionRequest,
    RetentionResponse,
    RetentionSpan,
)
from server.errors import Refused
from server.guard import Identity, require
from server.host import Host
from server.permissions import Permission
from server.privacy.consents import Agreement, Consent
from server.privacy.holds import Hold
from server.privacy.jobs import Job, JobKind
from server.privacy.protection import Span, protection_of
from server.privacy.retention import PolicyChange, RetentionPolicy
from server.routes.bodies import NO_STORE, answer, caller, read_body, request_id
from server.routes.privacy_answers import NOT_FOUND, refusing
from server.routes.queries import check_names

MAX_BYTES: Final = 32 * 1024
ACCEPTED: Final = 202
CREATED: Final = 201


def privacy_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""
    return [*_job_routes(host), *_policy_routes(host), *_hold_routes(host), *_consent_routes(host)]


def _person(who: Identity, tenant_id: str | None, user_id: str | None) -> tuple[str, str]:
    """The tenant and the person a request is about. Raises Refused."""
    if user_id in (None, who.user_id) and tenant_id in (None, who.tenant_id):
        return require(who, Permission.PRIVACY_OWN), who.user_id
    if user_id is None:
        raise Refused(ErrorCode.REQUEST_INVALID, "user_id: whose data of that tenant?")
    return require(who, Permission.PRIVACY_WRITE, tenant_id), user_id


# --- export and deletion ---


def _job_routes(host: Host) -> list[Route]:
    async def ask(request: Request, kind: JobKind) -> Response:
        check_names(request, ())
        body = await read_body(request, PersonRequest, MAX_BYTES)
        who = caller(request)
        tenant_id, user_id = _person(who, body.tenant_id, body.user_id)
        with refusing():
            job = await host.offices.privacy.ask(who, kind, tenant_id, user_id, request_id(request))
        where = {"Location": f"/v1/privacy/jobs/{job.job_id}"}
        return answer(_job_told(job, request), ACCEPTED, NO_STORE | where)

    async def export(request: Request) -> Response:
        return await ask(request, "export")

    async def delete(request: Request) -> Response:
        return await ask(request, "delete")

    async def job(request: Request) -> Response:
        return answer(_job_told(await _find_job(host, request), request), headers=NO_STORE)

    async def download(request: Request) -> Response:
        found = await _find_job(host, request)
        # An export is for who asked for it, and nobody else, whatever else they may do.
        if not found.asked_by_whom(caller(request)) or found.kind != "export":
            raise Refused(ErrorCode.AUTH_FORBIDDEN, "An export is given to who asked for it.")
        expires_at_ms = found.expires_at_ms
        if found.state != "finished" or expires_at_ms is None or expires_at_ms <= host.epoch_ms():
            words = "It is not ready yet." if not found.is_over else "It is no longer kept: ask for another."
            raise Refused(ErrorCode.REQUEST_INVALID, words, http_status=409 if not found.is_over else 410)
        headers = {
            "Content-Disposition": f'attachment; filename="{found.job_id}.zip"',
            "Content-Length": str(found.result["bytes"]),
            "X-Content-SHA256": str(found.result["sha256"]),
        }
        parts = host.offices.privacy.exports.parts(found)
        return StreamingResponse(parts, headers=NO_STORE | headers, media_type="application/zip")

    return [
        Route("/v1/privacy/export", export, methods=["POST"]),
        Route("/v1/privacy/delete", delete, methods=["POST"]),
        Route("/v1/privacy/jobs/{job_id}", job, methods=["GET"]),
        Route("/v1/privacy/jobs/{job_id}/download", download, methods=["GET"]),
    ]


async def _find_job(host: Host, request: Request) -> Job:
    """The job the path names, if the caller may know of it. Raises Refused."""
    who = caller(request)
    require(who, Permission.PRIVACY_OWN)
    with refusing():
        job = await host.offices.privacy.jobs.find(str(request.path_params["job_id"]))
    near = who.tenant_id == job.tenant_id
    # After a deletion nothing says any more who asked for it; its id is known to them alone.
    deleted = job.kind == "delete" and job.is_over and near
    manages = who.may(Permission.PRIVACY_WRITE) and (near or who.may(Permission.OPERATE))
    if not (job.asked_by_whom(who) or deleted or manages):
        raise Refused(ErrorCode.REQUEST_INVALID, "There is no such job.", http_status=NOT_FOUND)
    return job


def _job_told(job: Job, request: Request) -> PrivacyJob:
    ready = job.kind == "export" and job.state == "finished" and job.asked_by_whom(caller(request))
    return PrivacyJob(
        request_id=request_id(request),
        job_id=job.job_id,
        kind=job.kind,
        tenant_id=job.tenant_id,
        user_id=job.user_id,
        state=job.state,
        step=job.step,
        asked_at_ms=job.asked_at_ms,
        finished_at_ms=job.finished_at_ms,
        expires_at_ms=job.expires_at_ms,
        download=f"/v1/privacy/jobs/{job.job_id}/download" if ready else None,
        result=dict(job.result),
    )


# --- retention ---


def _policy_routes(host: Host) -> list[Route]:
    async def read(request: Request) -> Response:
        who = caller(request)
        check_names(request, {"tenant"})
        tenant_id = require(who, Permission.PRIVACY_OWN, request.query_params.get("tenant"))
        office = host.offices.privacy
        with refusing():
            await office.types.refresh()
        return answer(_policy_told(host, office.retention.of(tenant_id, office.type_of(tenant_id, who)), request))

    async def change(request: Request) -> Response:
        check_names(request, ())
        body = await read_body(request, RetentionRequest, MAX_BYTES)
        who, office = caller(request), host.offices.privacy
        tenant_id = require(who, Permission.PRIVACY_WRITE, body.tenant_id)
        chosen = PolicyChange(body.store, body.conversation_days, body.usage_months)
        with refusing():
            await office.types.refresh()
            tenant_type = office.type_of(tenant_id, who)
            policy = await office.retention.choose(who, tenant_id, tenant_type, chosen, request_id(request))
        return answer(_policy_told(host, policy, request))

    async def purge(request: Request) -> Response:
        check_names(request, ())
        body = await read_body(request, PurgeRequest, MAX_BYTES)
        who = caller(request)
        tenant_id = require(who, Permission.PRIVACY_WRITE, body.tenant_id)
        if body.everybody:
            require(who, Permission.OPERATE)
        with refusing():
            report = await host.offices.privacy.purge(who, None if body.everybody else tenant_id)
        told = PurgeResponse(
            request_id=request_id(request),
            conversations=report.conversations,
            usage_events=report.usage_events,
            exports=report.exports,
            held_tenants=report.held_tenants,
        )
        return answer(told)

    return [
        Route("/v1/privacy/policy", read, methods=["GET"]),
        Route("/v1/privacy/policy", change, methods=["POST"]),
        Route("/v1/privacy/purge", purge, methods=["POST"]),
    ]


def _policy_told(host: Host, policy: RetentionPolicy, request: Request) -> RetentionResponse:
    rules = protection_of(policy.tenant_type)
    return RetentionResponse(
        request_id=request_id(request),
        tenant_id=policy.tenant_id,
        tenant_type=policy.tenant_type,
        store=policy.store,
        conversation_days=policy.conversation_days,
        usage_months=policy.usage_months,
        chosen=policy.chosen,
        permitted={
            "conversation_days": _span(rules.conversation_days),
            "usage_months": _span(rules.usage_months),
        },
        recording=rules.recording and host.settings.retention.recording,
    )


def _span(span: Span) -> RetentionSpan:
    return RetentionSpan(default=span.default, least=span.least, most=span.most)


# --- holds ---


def _hold_routes(host: Host) -> list[Route]:
    async def listed(request: Request) -> Response:
        check_names(request, {"tenant"})
        tenant_id = require(caller(request), Permission.PRIVACY_WRITE, request.query_params.get("tenant"))
        with refusing():
            holds = await host.offices.privacy.holds.list(tenant_id)
        return answer(HoldList(request_id=request_id(request), holds=tuple(map(_hold_told, holds))))

    async def place(request: Request) -> Response:
        check_names(request, ())
        body = await read_body(request, HoldRequest, MAX_BYTES)
        who = caller(request)
        tenant_id = require(who, Permission.PRIVACY_WRITE, body.tenant_id)
        with refusing():
            hold = await host.offices.privacy.holds.place(
                who,
                tenant_id,
                body.reason,
                user_id=body.user_id,
                session_id=body.session_id,
                request_id=request_id(request),
            )
        return answer(HoldResponse(request_id=request_id(request), **_hold_told(hold).model_dump()), CREATED)

    async def lift(request: Request) -> Response:
        check_names(request, {"tenant"})
        who, hold_id = caller(request), str(request.path_params["hold_id"])
        tenant_id = require(who, Permission.PRIVACY_WRITE, request.query_params.get("tenant"))
        with refusing():
            hold = await host.offices.privacy.holds.lift(who, tenant_id, hold_id, request_id(request))
        return answer(HoldResponse(request_id=request_id(request), **_hold_told(hold).model_dump()))

    return [
        Route("/v1/privacy/holds", listed, methods=["GET"]),
        Route("/v1/privacy/holds", place, methods=["POST"]),
        Route("/v1/privacy/holds/{hold_id}", lift, methods=["DELETE"]),
    ]


def _hold_told(hold: Hold) -> LegalHold:
    return LegalHold(**{name: getattr(hold, name) for name in LegalHold.model_fields})


# --- consents ---


def _consent_routes(host: Host) -> list[Route]:
    async def listed(request: Request) -> Response:
        check_names(request, {"tenant", "user"})
        who, given = caller(request), request.query_params
        user_id: str | None = given.get("user")
        if who.may(Permission.PRIVACY_WRITE) and user_id is None:
            tenant_id = require(who, Permission.PRIVACY_WRITE, given.get("tenant"))
        else:
            tenant_id, user_id = _person(who, given.get("tenant"), user_id)
        with refusing():
            consents = await host.offices.consents.list(tenant_id, user_id)
        return answer(ConsentList(request_id=request_id(request), consents=tuple(map(_consent_told, consents))))

    async def give(request: Request) -> Response:
        check_names(request, ())
        body = await read_body(request, ConsentRequest, MAX_BYTES)
        who = caller(request)
        tenant_id, user_id = _person(who, body.tenant_id, body.user_id)
        agreed = Agreement(body.purpose, body.wording, body.wording_version, body.locale, body.session_id)
        with refusing():
            consent = await host.offices.consents.give(who, tenant_id, user_id, agreed, request_id(request))
        return answer(ConsentResponse(request_id=request_id(request), **_consent_told(consent).model_dump()), CREATED)

    async def withdraw(request: Request) -> Response:
        check_names(request, {"tenant"})
        who, consent_id = caller(request), str(request.path_params["consent_id"])
        tenant_id = require(who, Permission.PRIVACY_OWN, request.query_params.get("tenant"))
        only = None if who.may(Permission.PRIVACY_WRITE) else who.user_id
        with refusing():
            consent = await host.offices.consents.withdraw(who, tenant_id, only, consent_id, request_id(request))
        return answer(ConsentResponse(request_id=request_id(request), **_consent_told(consent).model_dump()))

    return [
        Route("/v1/privacy/consents", listed, methods=["GET"]),
        Route("/v1/privacy/consents", give, methods=["POST"]),
        Route("/v1/privacy/consents/{consent_id}", withdraw, methods=["DELETE"]),
    ]


def _consent_told(consent: Consent) -> RecordingConsent:
    return RecordingConsent(**{name: getattr(consent, name) for name in RecordingConsent.model_fields})
