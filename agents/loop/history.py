"""What a conversation remembers: the messages a model reads, as they were said and heard.

Owned by the session; knows no model and no clock. Append-only between its rare cuts, so that a model's prompt cache
holds everything but the newest words: when the bounds are passed, the oldest turns go at once until half is left,
instead of one turn every time. A turn is a user message and all that followed; tool requests go with their results.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from agents.models.port import Message, ToolRequest
from agents.models.tokens import estimate_message_tokens, estimate_tokens

CUT_MARK: Final = "…"
"""Ends what the user heard of an interrupted reply; models read it as a sentence broken off."""


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much is remembered. ``max_tokens`` is estimated, and bounds all messages without the system prompt.

    After a cut ``keep`` of either bound is left at most. A single message is shortened to ``message_share`` of the
    tokens, keeping its beginning and its end.
    """

    max_turns: int = 40
    max_tokens: int = 1_200
    keep: float = 0.5
    message_share: float = 0.4

    @classmethod
    def for_context(cls, context_tokens: int, instructions: str, max_output_tokens: int) -> HistoryLimits:
        """Limits for a model's context window, less its instructions, its reply and a margin for the estimate."""
        free = int((context_tokens - max_output_tokens) * 0.85) - estimate_tokens(instructions)
        return cls(max_tokens=max(200, free))


Turn = tuple[Message, ...]


class History:
    """One conversation's messages."""

    def __init__(self, limits: HistoryLimits | None = None) -> None:
        self._limits = limits or HistoryLimits()
        self._turns: list[Turn] = []

    def user(self, text: str) -> None:
        """The user's turn is certain: what they said."""
        self._turns = self._with(self._fitted(Message("user", text)))

    def assistant_heard(self, text: str, *, interrupted: bool = False) -> None:
        """What the user heard of the reply; nothing, where an interruption came before the first word."""
        text = text.strip()
        if not text:
            return
        if interrupted:
            text = f"{text.rstrip('.… ')}{CUT_MARK}"
        self._append(self._fitted(Message("assistant", text)))

    def tool_result(self, request: ToolRequest, output: str) -> None:
        """A tool ran in this turn: what was asked of it and what it answered (JSON text)."""
        self._append(
            Message("assistant", "", tool_requests=(request,)),
            self._fitted(Message("tool", output, tool_call_id=request.call_id)),
        )

    def messages(self, system_prompt: str | None = None) -> tuple[Message, ...]:
        """Everything remembered, for a model."""
        return _rendered(self._turns, system_prompt)

    def with_user(self, text: str, system_prompt: str | None = None) -> tuple[Message, ...]:
        """What ``messages`` would be after ``user(text)``: for a reply drafted before the turn is certain."""
        return _rendered(self._with(self._fitted(Message("user", text))), system_prompt)

    def _append(self, *messages: Message) -> None:
        if self._turns:
            self._turns[-1] = (*self._turns[-1], *messages)
        else:
            self._turns.append(messages)

    def _with(self, message: Message) -> list[Turn]:
        turns = [*self._turns, (message,)]
        limits = self._limits
        if len(turns) <= limits.max_turns and _tokens(turns) <= limits.max_tokens:
            return turns
        max_turns, max_tokens = int(limits.max_turns * limits.keep), int(limits.max_tokens * limits.keep)
        # The newest turn stays, whatever its size.
        while len(turns) > 1 and (len(turns) > max_turns or _tokens(turns) > max_tokens):
            del turns[0]
        return turns

    def _fitted(self, message: Message) -> Message:
        limit = int(self._limits.max_tokens * self._limits.message_share)
        tokens = estimate_tokens(message.text)
        if tokens <= limit:
            return message
        chars = len(message.text) * limit // tokens
        head = chars // 3
        return replace(message, text=f"{message.text[:head]} {CUT_MARK} {message.text[head - chars :]}")


def _tokens(turns: list[Turn]) -> int:
    return sum(estimate_message_tokens(message) for turn in turns for message in turn)


def _rendered(turns: list[Turn], system_prompt: str | None) -> tuple[Message, ...]:
    messages = [message for turn in turns for message in turn]
    merged: list[Message] = [] if system_prompt is None else [Message("system", system_prompt)]
    merged += messages[:1]
    for before, message in pairwise(messages):
        if before.role == message.role == "user":
            # Nothing was heard in between. Some chat templates insist on turns that alternate.
            merged[-1] = replace(merged[-1], text=f"{merged[-1].text}\n{message.text}")
        else:
            merged.append(message)
    return tuple(merged)
