"""Logging in and out, who one is, and client secrets; with the routes of keys, users, tenants and the audit log."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.contracts.errors import ErrorCode
from server.contracts.identity import LoginRequest, LoginResponse, Me, SessionRequest, SessionResponse
from server.errors import Refused
from server.guard import Identity, require
from server.host import Host
from server.identity.presented import COOKIE, client_address
from server.permissions import Permission
from server.routes.audit import audit_routes
from server.routes.bodies import NO_STORE, answer, caller, read_body, request_id
from server.routes.directory import directory_routes

VOICE_PATH: Final = "/v1/voice/ws"
CHAT_PATH: Final = "/v1/ws"
WEBRTC_PATH: Final = "/v1/voice/webrtc"


def identity_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""

    async def login(request: Request) -> Response:
        asked = await read_body(request, LoginRequest, host.settings.limits.max_body_bytes)
        logins, address = host.offices.identity.logins, client_address(request.scope)
        if asked.api_key is not None:
            session = await logins.by_key(asked.api_key, address)
        else:
            session = await logins.by_password(asked.login_name or "", asked.password or "", address)
        who = session.identity
        body = LoginResponse(
            request_id=request_id(request),
            token=None if asked.cookie else session.token,
            expires_at_ms=session.expires_at_ms,
            tenant_id=who.tenant_id,
            user_id=who.user_id,
            role=who.role,
        )
        response = answer(body, headers=NO_STORE)
        if asked.cookie:
            _set_cookie(request, response, session.token, session.life_s)
        return response

    async def logout(request: Request) -> Response:
        await host.offices.identity.logins.log_out(caller(request))
        response = Response(status_code=204, headers=NO_STORE)
        _set_cookie(request, response, "", 0)
        return response

    async def me(request: Request) -> Response:
        who = caller(request)
        body = Me(
            request_id=request_id(request),
            tenant_id=who.tenant_id,
            tenant_type=who.tenant_type,
            user_id=who.user_id,
            role=who.role,
            permissions=tuple(sorted(who.permissions)),
            agent_id=who.agent_id,
            test=who.test,
        )
        return answer(body, headers=NO_STORE)

    async def sessions(request: Request) -> Response:
        who = caller(request)
        require(who, Permission.TALK)
        asked = await read_body(request, SessionRequest, host.settings.limits.max_body_bytes)
        holder = _holder(who, asked)
        await host.agent(asked.agent_id, holder)
        body = SessionResponse(
            request_id=request_id(request),
            client_secret=host.secrets.mint(holder, {}, asked.expires_in_s),
            expires_at_ms=host.epoch_ms() + asked.expires_in_s * 1_000,
            voice_path=VOICE_PATH,
            chat_path=CHAT_PATH,
            webrtc_path=WEBRTC_PATH,
        )
        return answer(body, 201, NO_STORE)

    return [
        Route("/v1/auth/login", login, methods=["POST"]),
        Route("/v1/auth/logout", logout, methods=["POST"]),
        Route("/v1/me", me, methods=["GET"]),
        Route("/v1/sessions", sessions, methods=["POST"]),
        *directory_routes(host),
        *audit_routes(host),
    ]


def _holder(who: Identity, asked: SessionRequest) -> Identity:
    """Who holds the secret: the caller or somebody they speak for, who may talk, perhaps to one agent, and no more."""
    if asked.user_id not in (None, who.user_id) and who.role == "member":
        raise Refused(ErrorCode.AUTH_FORBIDDEN, "A member begins conversations for themselves only.")
    if who.agent_id is not None and asked.agent_id not in (None, who.agent_id):
        raise Refused(ErrorCode.AUTH_FORBIDDEN, "This key is for another agent.")
    return replace(
        who,
        user_id=asked.user_id or who.user_id,
        permissions=who.permissions & {Permission.TALK},
        agent_id=asked.agent_id or who.agent_id,
    )


def _set_cookie(request: Request, response: Response, value: str, life_s: int) -> None:
    response.set_cookie(
        COOKIE, value, max_age=life_s, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )
