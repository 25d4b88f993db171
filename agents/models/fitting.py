"""A request made to fit another model than it was meant for: one without tools, or with a smaller context.

Pure. What is dropped are the oldest words; the instructions and the newest message stay, shortened where they must be.
Driven by ``agents.models.fallback`` and, for tools in words, by ``agents.loop.agent``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from agents.models.port import Message, ModelProfile, ModelRequest
from agents.models.tokens import estimate_message_tokens, estimate_tokens

MARGIN: Final = 0.85
"""Tokens are only estimated."""
SYSTEM_SHARE: Final = 0.5


def fitted(request: ModelRequest, profile: ModelProfile) -> ModelRequest:
    """The request as ``profile``'s model can take it."""
    if not profile.tools:
        request = replace(request, messages=as_text(request.messages), tools=(), tool_choice="auto")
    answer = min(request.max_output_tokens, profile.context_tokens // 4)
    room = int((profile.context_tokens - answer) * MARGIN)
    if sum(map(estimate_message_tokens, request.messages)) <= room:
        return request
    return replace(request, messages=_newest(request.messages, room))


def as_text(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation without tools: what they answered is told in words, once, where the answer was used."""
    names = {request.call_id: request.name for message in messages for request in message.tool_requests}
    told: list[Message] = []
    for message in messages:
        if message.role == "tool":
            name = names.get(message.tool_call_id or "", "tool")
            told.append(Message("system", f"Result of {name}: {message.text}"))
        elif message.text or not message.tool_requests:
            told.append(message)
    return tuple(told)


def _newest(messages: Sequence[Message], room: int) -> tuple[Message, ...]:
    head = [_shortened(messages[0], int(room * SYSTEM_SHARE))] if messages[0].role == "system" else []
    room -= sum(map(estimate_message_tokens, head))
    kept: list[Message] = []
    for message in reversed(messages[len(head) :]):
        if not kept:
            message = _shortened(message, room)  # noqa: PLW2901 - the newest stays, whatever its size
        room -= estimate_message_tokens(message)
        if room < 0 and kept:
            break
        kept.append(message)
    # What a tool answered means nothing without the question it was asked.
    while len(kept) > 1 and kept[-1].role == "tool":
        kept.pop()
    return (*head, *reversed(kept))


def _shortened(message: Message, room: int) -> Message:
    tokens = estimate_tokens(message.text)
    if tokens <= room:
        return message
    return replace(message, text=message.text[: max(0, len(message.text) * room // tokens)])
