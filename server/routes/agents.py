"""``GET /v1/agents``: who one may talk to."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.contracts.chat import AgentInfo, AgentList
from server.host import Host
from server.routes.bodies import answer, request_id


def agent_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""

    async def agents(request: Request) -> Response:
        spec = host.engines.for_sessions().agent.spec
        description = host.settings.agent.description
        info = AgentInfo(agent_id=spec.agent_id, name=spec.name, description=description, default=True)
        return answer(AgentList(request_id=request_id(request), agents=(info,)))

    return [Route("/v1/agents", agents, methods=["GET"])]
