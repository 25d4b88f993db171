"""One question in writing, answered outside any session: the agent loop with an account of its own.

Yields the same events a session would, ending with ``TurnCompleted`` (its usage is durable by then) or ``Failed``.
Knows no HTTP; driven by ``server.routes.chat``.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import anyio

from agents.call_log import CallLog
from agents.core.accounts import TurnAccount
from agents.core.admitting import downgrade, prompt_most
from agents.core.language import rules_for
from agents.core.options import Identity, StageLimits
from agents.core.stand_in import stand_in
from agents.errors import ModelError
from agents.events import (
    ContentFiltered,
    Failed,
    ReplyText,
    ServerEvent,
    ToolCalled,
    ToolReturned,
    TurnCompleted,
    TurnStarted,
)
from agents.latency_events import StageLatency, TurnLatency
from agents.loop.history import History
from agents.loop.reply_parts import (
    ReplyDelta,
    ReplyFinished,
    ReplyLimits,
    ReplyPart,
    ToolEnded,
    ToolHandedOver,
    ToolStarted,
)
from agents.models.asked import AskedModels
from agents.models.port import AnsweredBy, Asked, ContentFilter, Message, ModelProfile, Overtaken, TokenUsage
from agents.models.tokens import estimate_usage
from metering.usage import StageProvider
from server.budgets.opening import Opened
from server.contracts.errors import ErrorCode
from server.errors import Refused, describe
from server.host import Host
from server.observability.session_watch import SessionWatch

logger = logging.getLogger(__name__)

DURABLE_LIMIT_S: Final = 10.0
_LIMITS: Final = StageLimits()


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, after what was said before.

    ``turn_id`` is the request's id, as the client is told it; ``usage_id`` names what it consumes, and is new for
    every answer, so that a repeated request is counted as often as it is answered. ``consents``: whoever asks goes on
    beyond a budget's warning.
    """

    turn_id: str
    usage_id: str
    prompt: str
    identity: Identity
    history: History
    consents: bool = False


class ChatTurn:
    """Answers one question. ``events`` may be consumed once."""

    def __init__(self, host: Host, opened: Opened, question: Question, watch: SessionWatch) -> None:
        """``watch`` sees every event but failures before it is given out."""
        self._watch = watch
        self._host = host
        self._changes: deque[ServerEvent] = deque()
        self._purse = opened.purse
        self._engines = opened.engines.for_session(lambda change: self._changes.append(stand_in(change)))
        self._agent = agent = self._engines.agent
        self._question = question
        self._account = TurnAccount(question.usage_id, agent.spec.agent_id, host.epoch_ms())
        self._began_at_s = time.monotonic()
        self._stages: tuple[StageLatency, ...] = ()
        self._asked: tuple[Message, ...] = ()
        self._text = ""
        self._tokens: TokenUsage | None = None
        self._models = AskedModels()
        self._by_model: tuple[tuple[ModelProfile, TokenUsage], ...] = ()
        self._recorded = False
        self._calls = CallLog()
        self._tools = 0

    async def events(self) -> AsyncGenerator[ServerEvent]:
        """The answer as it is made. Raises Refused and RecorderOverloaded before the first event."""
        with self._host.chat_place(self._question.identity):
            self._watch.carry(self._question.turn_id)
            try:
                await self._admit()
                async with aclosing(self._answer()) as events:
                    async for event in events:
                        if not isinstance(event, Failed):  # told by whoever tells the client
                            self._watch.observe(event)
                        yield event
            finally:
                self._purse.close()
                self._watch.end(self._account.error_code)

    async def _admit(self) -> None:
        """Reserve what the answer may cost. Raises Refused."""
        question, purse, engines = self._question, self._purse, self._engines
        await purse.prepare()
        purse.attach(self._changes.append)
        if question.consents:
            purse.consent()
        if (cheaper := engines.cheaper) is not None:
            self._changes.append(downgrade(engines, cheaper))
            self._engines, self._agent = cheaper, cheaper.agent
        asked = question.history.with_user(question.prompt, self._agent.system_prompt)
        admission = await purse.admit(question.usage_id, question.prompt, prompt_most(asked, self._agent.spec))
        if admission.asks is not None:
            raise Refused(ErrorCode.QUOTA_EXCEEDED, admission.asks, details={"consent": "needed"})
        if (denied := admission.denied) is not None:
            wait_s = (denied.details or {}).get("retry_after_s")
            raise Refused(ErrorCode(denied.code), denied.message, retry_after_s=wait_s, details=denied.details)

    async def _answer(self) -> AsyncGenerator[ServerEvent]:
        question, account = self._question, self._account
        account.name_providers(self._engines, answers=True, speaks=False)
        self._purse.open_turn(account.event(question.identity, self._host.epoch_ms()))
        failed: Failed | None = None
        try:
            yield TurnStarted(question.turn_id, question.prompt, "text")
            try:
                async with aclosing(self._parts()) as parts:
                    async for event in parts:
                        yield event
            except (ModelError, TimeoutError) as error:
                failure = describe(error)
                account.error_code = failure.code.value
                retryable = failure.meaning.retryable
                failed = Failed(failure.code.value, failure.message, retryable, question.turn_id, failure.details)
                refused = isinstance(error, ModelError) and not error.has_cost
                if refused and not (self._text or self._tools):
                    self._tokens = TokenUsage()
            await self._record()
            calls = self._calls.calls
            yield failed or TurnCompleted(question.turn_id, self._text, False, account.usage(), calls=calls)
        finally:
            if not self._recorded:  # the client went away
                account.interrupted = True
                with anyio.CancelScope(shield=True), anyio.move_on_after(DURABLE_LIMIT_S):
                    await self._record()

    async def _parts(self) -> AsyncGenerator[ServerEvent]:
        question = self._question
        committed = anyio.Event()
        committed.set()
        question.history.user(question.prompt)
        self._asked = question.history.messages(self._agent.system_prompt)
        limits = ReplyLimits(_LIMITS.model_first_event_s, _LIMITS.model_gap_s)
        until_s = self._began_at_s + self._host.settings.limits.chat_timeout_s
        reply = self._agent.reply(self._asked, committed=committed, limits=limits, log=self._calls)
        async with aclosing(reply) as parts:
            while True:
                with anyio.fail_after(max(0.0, until_s - time.monotonic())):
                    part = await anext(parts, None)
                if part is None:
                    return
                while self._changes:
                    yield self._changes.popleft()
                if not self._text and isinstance(part, ReplyDelta):
                    yield self._first_words()
                for event in self._events_of(part):
                    yield event

    def _first_words(self) -> TurnLatency:
        elapsed_ms = (time.monotonic() - self._began_at_s) * 1_000
        who = self._account.providers["agent"]
        agent = StageLatency("agent", 0.0, elapsed_ms, who.provider, who.model)
        self._stages = (agent, StageLatency("total", 0.0, elapsed_ms))
        return TurnLatency(self._question.turn_id, self._stages, self._began_at_s)

    def _events_of(self, part: ReplyPart) -> Iterator[ServerEvent]:
        turn_id = self._question.turn_id
        match part:
            case ReplyDelta():
                self._text += part.text
                yield ReplyText(turn_id, part.text)
            case ToolStarted(request=request):
                yield ToolCalled(turn_id, request.call_id, request.name, request.arguments)
            case ToolEnded(request=request, outcome=outcome):
                self._tools += 1
                yield ToolReturned(turn_id, request.call_id, request.name, outcome.output, outcome.error)
            case ToolHandedOver():
                pass  # a chat has no tools of its client's
            case Asked() | Overtaken() | AnsweredBy():
                self._models.note(part)
                if (profile := self._models.current) is not None:
                    self._account.providers["agent"] = StageProvider(profile.provider, profile.model)
            case ReplyFinished():
                self._tokens, self._by_model = part.usage, part.by_model
                if part.reason == "filtered":
                    yield from self._refusal(part.verdict or ContentFilter("completion"))

    def _refusal(self, verdict: ContentFilter) -> Iterator[ServerEvent]:
        """A content filter forbade the answer: nothing of it stands, and the refusal is said."""
        turn_id, apart = self._question.turn_id, " " if self._text else ""
        self._text = rules_for(self._agent.spec.locale).refusal
        yield ContentFiltered(turn_id, verdict.stage, verdict.categories)
        yield ReplyText(turn_id, f"{apart}{self._text}")

    def _consumed(self) -> TokenUsage:
        """Estimated where the answer ended before its usage arrived, nothing where the model was never asked."""
        if self._tokens is not None:
            return self._tokens
        return estimate_usage(self._asked, self._text) if self._asked else TokenUsage()

    async def _record(self) -> None:
        self._recorded = True
        self._account.close(self._tools, self._calls)
        self._account.asked_models(self._consumed(), self._by_model, self._models.overtaken)
        event = self._account.event(self._question.identity, self._host.epoch_ms(), self._stages)
        await self._purse.record(event)
