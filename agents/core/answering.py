"""From the user's words to phrases worth speaking: one turn's conversation with its agent.

Owns the reply's text and what it cost in tokens and tools. Events pass the turn's gate, so the same code drafts and
answers. Knows no audio; driven by ``agents.core.turn_run``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from anyio.streams.memory import MemoryObjectSendStream

from agents.call_log import CallLog
from agents.core.event_gate import EventGate
from agents.core.options import SessionOptions
from agents.errors import ModelError
from agents.events import ClientToolCalled, ContentFiltered, Failed, ReplyText, ToolCalled, ToolReturned
from agents.loop.agent import (
    Agent,
    ReplyDelta,
    ReplyFinished,
    ReplyLimits,
    ReplyPart,
    ToolEnded,
    ToolHandedOver,
    ToolStarted,
)
from agents.loop.history import History, rendered
from agents.loop.phrases import Phrase, PhraseSplitter
from agents.loop.pieces import Piece, PieceCutter
from agents.models.port import AnsweredBy, ContentFilter, Message, ModelProfile, TokenUsage, ToolRequest
from agents.models.tokens import estimate_usage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PendingPhrase:
    """A phrase to be spoken; one that is not ``remembered`` (a filler, an apology) is nobody's words in history.

    A ``refusal`` is said in place of every phrase before it that has not been begun.
    ``streamed`` is a piece for a voice that speaks while text is written; ``ends_phrase``: a phrase ends with it.
    """

    text: str
    remembered: bool = True
    refusal: bool = False
    streamed: bool = False
    ends_phrase: bool = True


Phrases = MemoryObjectSendStream[PendingPhrase]


@dataclass(frozen=True, slots=True)
class AnsweringPorts:
    """Who answers, what is remembered, and who is told: of every piece of text, of every phrase, of the model, and of
    the first thing that cannot be taken back."""

    agent: Agent
    history: History
    gate: EventGate
    on_text: Callable[[], None]
    on_phrase: Callable[[], None]
    on_model: Callable[[ModelProfile], None]
    on_bound: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What is answered. ``messages`` stand in for the conversation; ``note`` is added to it for this reply only.

    ``remembered`` false: neither the reply nor its tools leave a trace in the conversation.
    """

    text: str = ""
    messages: tuple[Message, ...] | None = None
    note: str = ""
    remembered: bool = True


class Answering:
    """One turn's reply in the making. ``handed_over`` are the client's tools that it asked for."""

    def __init__(
        self,
        ports: AnsweringPorts,
        turn_id: str,
        options: SessionOptions,
        question: Question,
        *,
        splitter: PhraseSplitter | PieceCutter | None = None,
    ) -> None:
        """``splitter`` cuts the reply as its voice wants it; into phrases, unless one is given."""
        self.reply = ""
        self.tool_calls = 0
        self.error_code: str | None = None
        self.end: Literal["finished", "tools", "length", "filtered"] | None = None
        self.handed_over: list[ToolRequest] = []
        self.calls = CallLog()
        self.verdict: ContentFilter | None = None
        """Why the reply is a refusal, where a content filter forbade another; nothing else of it stands."""
        self._ports = ports
        self._turn_id = turn_id
        self._options = options
        self._question = question
        self._splitter = splitter or PhraseSplitter(options.locale)
        self._phrases_said = 0
        self._asked: tuple[Message, ...] = ()
        self._usage: TokenUsage | None = None
        self._tools_used: list[tuple[ToolRequest, str]] = []

    @property
    def is_refused(self) -> bool:
        """Whether a content filter forbids the answer."""
        return self.verdict is not None

    async def answer(self, phrases: Phrases) -> None:
        """Ask the agent and hand on its phrases. A model that fails is reported and apologised for; where a content
        filter forbids the answer, that is said.

        While the turn is not certain the failure is only noted in ``error_code``: the turn is then answered anew.
        """
        try:
            await self._ask(phrases)
        except ModelError as error:
            log.warning("the model failed", extra={"turn_id": self._turn_id, "provider": error.provider})
            self.error_code = error.code
            wait = None if error.retry_after_s is None else {"retry_after_s": round(error.retry_after_s, 3)}
            self._ports.gate.emit(Failed(error.code, str(error), error.retryable, self._turn_id, wait))
            if not self._ports.gate.is_open:
                return
            if not self.reply:
                await phrases.send(PendingPhrase(self._options.policy.rules.apology, remembered=False))
        if self.verdict is None:
            await self._flush(phrases)
        else:
            await self._refuse(self.verdict, phrases)

    async def recite(self, text: str, phrases: Phrases) -> None:
        """Say ``text`` as it stands."""
        await self._say(text, phrases)
        await self._flush(phrases)

    def remember_tools(self) -> None:
        """The turn is certain: what its tools answered becomes history."""
        for request, output in self._tools_used if self._question.remembered else ():
            self._ports.history.tool_result(request, output)
        self._tools_used.clear()

    def tokens(self) -> TokenUsage:
        """What the reply cost; estimated where it ended before its usage arrived, nothing where it was refused."""
        if self._usage is not None:
            return self._usage
        refused = self.error_code is not None and self.error_code != "provider.timeout" and not self.reply
        return estimate_usage(self._asked, self.reply) if self._asked and not refused else TokenUsage()

    async def _ask(self, phrases: Phrases) -> None:
        limits, brief = self._options.limits, self._options.brief
        self._asked = self._messages()
        reply_limits = ReplyLimits(limits.model_first_event_s, limits.model_gap_s)
        committed = self._ports.gate.committed
        parts = self._ports.agent.reply(
            self._asked, committed=committed, limits=reply_limits, brief=brief, log=self.calls
        )
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, ReplyDelta):
                    await self._say(part.text, phrases)
                else:
                    self._note(part)

    def _messages(self) -> tuple[Message, ...]:
        question, history, instructions = self._question, self._ports.history, self._options.brief.instructions
        system = self._ports.agent.system_prompt if instructions is None else instructions
        if question.messages is not None:
            messages = rendered(list(question.messages), system)
        elif self._ports.gate.is_open:
            messages = history.messages(system)
        else:
            messages = history.with_user(question.text, system)
        return (*messages, Message("system", question.note)) if question.note else messages

    async def _say(self, text: str, phrases: Phrases) -> None:
        self.reply += text
        self._ports.gate.emit(ReplyText(self._turn_id, text))
        self._ports.on_text()
        for phrase in self._splitter.feed(text):
            await self._hand_on(phrase, phrases)

    async def _flush(self, phrases: Phrases) -> None:
        rest: list[Phrase | Piece] = [*self._splitter.flush()]
        if self.end == "length" and self._phrases_said and rest:
            cut = rest.pop()  # the token limit ended it in the middle: better unsaid
            self.reply = self.reply.removesuffix(cut.text)
        for phrase in rest:
            await self._hand_on(phrase, phrases)

    async def _refuse(self, verdict: ContentFilter, phrases: Phrases) -> None:
        """Nothing of the answer stands: what is not yet spoken stays unsaid, and the refusal is the reply."""
        gate, refusal = self._ports.gate, self._options.policy.rules.refusal
        gate.emit(ContentFiltered(self._turn_id, verdict.stage, verdict.categories))
        apart = " " if self.reply and not self.reply[-1].isspace() else ""
        self.reply = refusal
        gate.emit(ReplyText(self._turn_id, f"{apart}{refusal}"))
        self._ports.on_text()
        self._ports.on_phrase()
        await phrases.send(PendingPhrase(refusal, refusal=True))

    async def _hand_on(self, phrase: Phrase | Piece, phrases: Phrases) -> None:
        self._phrases_said += 1
        self._ports.on_phrase()
        if isinstance(phrase, Piece):
            await phrases.send(PendingPhrase(phrase.text, streamed=True, ends_phrase=phrase.ends_phrase))
        else:
            await phrases.send(PendingPhrase(phrase.text))

    def _note(self, part: ReplyPart) -> None:
        gate = self._ports.gate
        match part:
            case ToolStarted(request=request):
                if self._ports.agent.has_effects(request.name):
                    self._ports.on_bound()
                gate.emit(ToolCalled(self._turn_id, request.call_id, request.name, request.arguments))
            case ToolEnded(request=request, outcome=outcome):
                self.tool_calls += 1
                gate.emit(ToolReturned(self._turn_id, request.call_id, request.name, outcome.output, outcome.error))
                self._tools_used.append((request, outcome.output))
                if gate.is_open:
                    self.remember_tools()
            case ToolHandedOver(request=request):
                self.tool_calls += 1
                self.handed_over.append(request)
                self._ports.on_bound()
                gate.emit(ClientToolCalled(self._turn_id, request.call_id, request.name, request.arguments))
            case AnsweredBy(profile):
                self._ports.on_model(profile)
            case ReplyFinished(usage=usage, reason=reason):
                self._usage = usage
                self.end = "finished" if reason == "stop" else reason
                if reason == "filtered":
                    self.verdict = part.verdict or ContentFilter("completion")
            case ReplyDelta():
                pass
