"""``/healthz``, ``/readyz`` and ``/metrics``: for orchestrators and operators."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.contracts.health import DegradedReason, EngineHealth, HealthResponse, ReadyResponse
from server.guard import require
from server.host import Host
from server.permissions import Permission
from server.routes.bodies import NO_STORE, answer, caller, request_id
from server.version import __version__


def health_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""

    async def healthz(request: Request) -> Response:
        return answer(HealthResponse(request_id=request_id(request), version=__version__))

    async def readyz(request: Request) -> Response:
        status = host.status
        body = ReadyResponse(
            request_id=request_id(request),
            status=status,
            version=__version__,
            engines=tuple(
                EngineHealth(
                    stage=report.stage,
                    provider=report.provider,
                    model=report.model,
                    status=report.status,
                    reason=report.reason,
                )
                for report in host.engines.reports
            ),
            degraded=tuple(
                DegradedReason(stage=report.stage, reason=report.reason)
                for report in host.engines.reports
                if report.reason is not None
            ),
        )
        return answer(body, 200 if status in {"ready", "degraded"} else 503, NO_STORE)

    async def metrics(request: Request) -> Response:
        require(caller(request), Permission.OPERATE)
        content, kind = host.metrics.render(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": kind, "Vary": "Accept"})

    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]
