"""The reply a client asks for: when it may begin, and when it is refused.

Owns the one request that waits: for what the user is saying, for what is being recognised, or for a reply whose tools
the client answers. Driven by the session, which says when nothing stands in its way.
"""

from __future__ import annotations

import asyncio
from typing import Final

from agents.core.options import ReplyRequest
from agents.core.outbox import Outbox
from agents.core.turn_desk import TurnDesk
from agents.events import Failed, TurnCompleted, TurnStarted

MAX_ASIDES: Final = 4
"""Replies that are made beside the conversation at once."""
REPLY_ACTIVE: Final = {"reason": "reply_active"}
"""Details of the failure where a reply is asked for while another runs."""


class AwaitedReply:
    """At most one request for a reply, until it begins."""

    def __init__(self, desk: TurnDesk, outbox: Outbox) -> None:
        self._desk = desk
        self._outbox = outbox
        self._waiting: tuple[str, ReplyRequest] | None = None

    def ask(self, turn_id: str, request: ReplyRequest, live: int | None, tasks: asyncio.TaskGroup) -> None:
        """Take a request while the turn ``live`` runs (or none does)."""
        if not request.remembered and not request.options.speak:
            self._aside(turn_id, request, tasks)
        elif self._waiting is not None or (live is not None and not self._desk.awaits_client(live)):
            message = "The agent is already answering; cancel that first, or wait until it has finished."
            self._outbox.emit(Failed("request.invalid", message, True, turn_id, REPLY_ACTIVE))
        else:
            self._waiting = turn_id, request

    def begin(self) -> bool:
        """The floor is free: whether a reply is to begin now. The desk then knows which."""
        if self._waiting is None:
            return False
        (turn_id, request), self._waiting = self._waiting, None
        self._desk.expect_request(turn_id, request)
        return True

    def cancel(self, turn_id: str | None) -> None:
        """The client does not want it after all: it is told as a turn that was cancelled before it began."""
        if self._waiting is None or turn_id not in {None, self._waiting[0]}:
            return
        (cancelled, _), self._waiting = self._waiting, None
        self._outbox.emit(TurnStarted(cancelled, "", "request"))
        self._outbox.emit(TurnCompleted(cancelled, "", interrupted=True, end="cancelled"))

    def forget(self) -> None:
        """Another turn answers what was asked to be answered."""
        self._waiting = None

    def _aside(self, turn_id: str, request: ReplyRequest, tasks: asyncio.TaskGroup) -> None:
        if self._desk.asides < MAX_ASIDES:
            self._desk.begin_aside(turn_id, request, tasks)
        else:
            self._outbox.emit(Failed("rate.limited", "Too many replies at once.", True, turn_id))
