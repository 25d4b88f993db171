"""``GET /v1/latency/report``: where the milliseconds of the caller's tenant (or their own) went, from the ledger."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metering.errors import LedgerError
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import require
from server.host import Host
from server.latency_view import DEFAULT_SINCE, BadFilter, LatencyQuestion, asked_about, check_question, read_report
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, request_id

READ_LIMIT_S: Final = 5.0
RETRY_AFTER_S: Final = 2.0
_FILTERS: Final = frozenset({"since", "stage", "agent", "transport", "turns"})


def latency_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""
    one_at_a_time = anyio.CapacityLimiter(1)  # reading takes a core's time that conversations want

    async def report(request: Request) -> Response:
        question, now_ms, who = _question(request), host.epoch_ms(), caller(request)
        everybody = who.may(Permission.USAGE_READ)
        question = replace(question, user_id=None if everybody else who.user_id)
        tenant_id = require(who, Permission.USAGE_READ if everybody else Permission.USAGE_OWN)
        try:
            check_question(question, now_ms)
            read = partial(
                read_report,
                host.ledger,
                question,
                host.latency.operators(asked_about(question, tenant_id)),
                tenant_id=tenant_id,
                request_id=request_id(request),
                now_ms=now_ms,
            )
            with anyio.fail_after(READ_LIMIT_S):
                body = await anyio.to_thread.run_sync(read, limiter=one_at_a_time, abandon_on_cancel=True)
        except BadFilter as error:
            raise Refused(ErrorCode.REQUEST_INVALID, str(error)) from error
        except (TimeoutError, LedgerError) as error:
            words = "The usage ledger cannot be read at the moment."
            raise Refused(ErrorCode.SERVER_OVERLOADED, words, retry_after_s=RETRY_AFTER_S) from error
        return answer(body, headers=NO_STORE)

    return [Route("/v1/latency/report", report, methods=["GET"])]


def _question(request: Request) -> LatencyQuestion:
    given = request.query_params
    unknown = sorted(set(given) - _FILTERS)
    if unknown:
        raise Refused(ErrorCode.REQUEST_INVALID, f"There is no filter called {unknown[0][:40]}.")
    try:
        turns = int(given.get("turns", "0"))
    except ValueError as error:
        raise Refused(ErrorCode.REQUEST_INVALID, "turns must be a whole number.") from error
    return LatencyQuestion(
        given.get("since", DEFAULT_SINCE), given.get("stage"), given.get("agent"), given.get("transport"), turns
    )
