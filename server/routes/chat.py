"""``POST /v1/chat`` and ``POST /v1/chat/stream``: a question in writing, answered whole or as it is made."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from secrets import token_hex
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from agents.events import AudioOut, ContentFiltered, DirectedEvent, Failed, ServerEvent, TurnCompleted
from agents.loop.history import History
from server.chat_turn import ChatTurn, Question
from server.contracts.chat import ChatRequest, ChatResponse
from server.contracts.errors import ErrorCode
from server.contracts.server_messages import UsageSummary
from server.errors import Refused
from server.host import Host
from server.ids import new_id
from server.observability.arrival import arrival
from server.routes.bodies import answer, caller, named_by_client, read_body, request_id
from server.wire.voice_json import VoiceCodec
from server.wire.voice_messages import message_of, usage_summary

_STREAM_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def chat_routes(host: Host) -> list[Route]:
    """The routes, bound to this server."""

    async def chat(request: Request) -> Response:
        turn, asked, turn_id = await _turn(host, request)
        filtered = False
        async with aclosing(turn.events()) as events:
            async for event in events:
                match event:
                    case Failed(details=details):
                        wait_s = None if details is None else details.get("retry_after_s")
                        raise Refused(ErrorCode(event.code), event.message, retry_after_s=wait_s)
                    case ContentFiltered():
                        filtered = True
                    case TurnCompleted():
                        usage = UsageSummary.model_validate(usage_summary(event.usage))
                        whole = ChatResponse(
                            request_id=turn_id, agent_id=asked, text=event.text, usage=usage, filtered=filtered
                        )
                        return answer(whole)
                    case _:
                        pass
        raise Refused(ErrorCode.INTERNAL)

    async def stream(request: Request) -> Response:
        turn, _, turn_id = await _turn(host, request)
        events = turn.events()
        first = await anext(events)  # what must be refused is refused before the answer begins
        lines = _lines(host, turn_id, first, events)
        return StreamingResponse(lines, media_type="text/event-stream", headers=_STREAM_HEADERS)

    return [
        Route("/v1/chat", chat, methods=["POST"]),
        Route("/v1/chat/stream", stream, methods=["POST"]),
    ]


async def _turn(host: Host, request: Request) -> tuple[ChatTurn, str, str]:
    """The turn a request asks for, the agent that answers it, and the turn's id. Raises Refused.

    The client is told its own id; the usage is recorded under one that no second request can have.
    """
    asked = await read_body(request, ChatRequest, host.settings.limits.max_body_bytes)
    agent = await host.agent(asked.agent_id, caller(request))
    turn_id = asked.request_id or request_id(request)
    repeatable = asked.request_id is not None or named_by_client(request)
    usage_id = f"{turn_id}.{token_hex(4)}" if repeatable else turn_id
    history = History()
    for entry in asked.history:
        if entry.role == "user":
            history.user(entry.text)
        else:
            history.assistant_heard(entry.text, interrupted=False)
    came = arrival("http", request.scope)
    opened = await host.open_answer(caller(request), asked.mode)
    identity = host.identity(caller(request), new_id("ses"))
    identity = replace(identity, transport=came.transport, mode=opened.mode)
    question = Question(turn_id, usage_id, asked.prompt, identity, history, asked.budget_consent)
    watch = host.watch(identity, came, caller(request).tenant_type)
    return ChatTurn(host, opened, question, watch), agent.spec.agent_id, turn_id


async def _lines(
    host: Host, turn_id: str, first: ServerEvent, events: AsyncGenerator[ServerEvent]
) -> AsyncGenerator[str]:
    """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    codec = VoiceCodec(turn_id, voice=False)
    number = 0
    async with aclosing(events):
        event: ServerEvent | None = first
        while event is not None:
            assert not isinstance(event, AudioOut | DirectedEvent), "a chat turn has no voice, and nobody directs it"
            if isinstance(event, Failed):
                host.metrics.observe(event)
            number += 1
            data = codec.encode(event, number, host.epoch_ms())
            yield f"event: {message_of(event).type}\nid: {number}\ndata: {data}\n\n"
            event = await anext(events, None)
