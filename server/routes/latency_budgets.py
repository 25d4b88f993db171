"""``GET /v1/latency-budgets``: how long turns may take here, what is done then, and what a session may ask for."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.budget_view import budget_list
from server.contracts.base import Locale
from server.contracts.errors import ErrorCode
from server.contracts.session import Patience
from server.engine_rules import Asked
from server.errors import Refused
from server.guard import Identity, require
from server.host import Host
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, request_id
from server.sessions.voice_options import DEFAULT_LOCALE
from server.tenant_settings import RESERVED

_FILTERS: Final = frozenset({"tenant", "agent", "locale", "patience"})
_LOCALE: Final[TypeAdapter[str]] = TypeAdapter(Locale)
_PATIENCE: Final[TypeAdapter[str]] = TypeAdapter(Patience)


def latency_budget_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""

    async def budgets(request: Request) -> Response:
        given = request.query_params
        unknown = sorted(set(given) - _FILTERS)
        if unknown:
            raise Refused(ErrorCode.REQUEST_INVALID, f"There is no filter called {unknown[0][:40]}.")
        tenant_id = await _tenant(host, caller(request), given.get("tenant"))
        agent = await host.agent(given.get("agent"), caller(request))
        locale = _valid(_LOCALE, given.get("locale", DEFAULT_LOCALE), "locale must be a language tag such as en-US.")
        patience = _valid(
            _PATIENCE,
            given.get("patience", "normal"),
            "patience must be one of normal, patient, very_patient, never.",
        )
        asked = Asked(tenant_id, agent.spec.agent_id, locale)
        body = budget_list(host.latency, asked, request_id(request), patient=patience != "normal")
        return answer(body, headers=NO_STORE)

    return [Route("/v1/latency-budgets", budgets, methods=["GET"])]


async def _tenant(host: Host, who: Identity, wanted: str | None) -> str:
    """Whose sessions are asked about: one's own, or with the operator's keys anybody's. Raises Refused."""
    if wanted is None or wanted == who.tenant_id:
        return who.tenant_id
    require(who, Permission.OPERATE)
    known = {each.tenant_id for each in await host.offices.identity.tenants.list()}
    if wanted not in known | RESERVED:
        raise Refused(ErrorCode.REQUEST_INVALID, "There is no tenant of that name.")
    return wanted


def _valid(kind: TypeAdapter[str], value: str, words: str) -> str:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise Refused(ErrorCode.REQUEST_INVALID, words) from error
