"""From the user's words to phrases worth speaking: one turn's conversation with its agent.

Owns the reply's text and what it cost in tokens and tools. Events pass the turn's gate, so the same code drafts and
answers. Knows no audio; driven by ``agents.core.turn_run``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from agents.call_log import CallLog
from agents.core.admitting import asked, prompt_most, told
from agents.core.event_gate import EventGate
from agents.core.options import ReplyRequest, SessionOptions
from agents.core.speaking import PreparedSpeech
from agents.core.spending import Most, Spending
from agents.core.turn_types import BeginTurn
from agents.core.turn_watch import TurnWatch
from agents.errors import ModelError
from agents.events import Caption, ClientToolCalled, ContentFiltered, Failed, ReplyText, ToolCalled, ToolReturned
from agents.loop.agent import Agent
from agents.loop.history import History, rendered
from agents.loop.phrases import Phrase, PhraseSplitter
from agents.loop.pieces import Piece, PieceCutter
from agents.loop.reply_parts import (
    ReplyDelta,
    ReplyFinished,
    ReplyLimits,
    ToolEnded,
    ToolHandedOver,
    ToolStarted,
    WhoAnswers,
)
from agents.models.asked import AskedModels
from agents.models.port import (
    AnsweredBy,
    Asked,
    ContentFilter,
    Message,
    ModelProfile,
    Overtaken,
    TokenUsage,
    ToolRequest,
)
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
    prepared: PreparedSpeech | None = None
    """Its audio, where it was spoken ahead."""
    captioned: bool = False
    """Whether the user can read it already."""
    bridges: bool = False
    """Whether it is a filler: nothing of the answer."""


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
    watch: TurnWatch
    spending: Spending | None = None


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
        self.by_model: tuple[tuple[ModelProfile, TokenUsage], ...] = ()
        """What each model's rounds took of the tokens, once the reply is whole."""
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
        self._cost_nothing = False
        self._models = AskedModels()
        self._tools_used: list[tuple[ToolRequest, str]] = []

    @property
    def overtaken(self) -> list[Overtaken]:
        """The models that were asked and whose answer is not used, with what they cost beside ``tokens``."""
        return self._models.overtaken

    @property
    def is_refused(self) -> bool:
        """Whether a content filter forbids the answer."""
        return self.verdict is not None

    async def answer(self, phrases: Phrases) -> None:
        """Ask the agent and hand on its phrases. A model that fails is reported and apologised for; where a content
        filter forbids the answer, that is said.

        While the turn is not certain the failure is only noted in ``error_code``: the turn is then answered anew.
        """
        self._asked = self._messages()
        if not await self._is_admitted(phrases, prompt_most(self._asked, self._ports.agent.spec)):
            return
        try:
            await self._ask(phrases)
        except ModelError as error:
            log.warning("the model failed", extra={"turn_id": self._turn_id, "provider": error.provider})
            self.error_code = error.code
            self._cost_nothing = not error.has_cost
            wait = None if error.retry_after_s is None else {"retry_after_s": round(error.retry_after_s, 3)}
            self._ports.gate.emit(Failed(error.code, str(error), error.retryable, self._turn_id, wait))
            if not self._ports.gate.is_open:
                return
            await self._apologize(phrases)
        if self.verdict is None:
            await self._flush(phrases)
        else:
            await self._refuse(self.verdict, phrases)

    async def _is_admitted(self, phrases: Phrases, most: Most) -> bool:
        """Whether there is money and quota for the turn; where there is not, or consent is missing, that is said."""
        if self._ports.spending is None:
            return True
        text = asked(self._question.text, self._asked)
        admission = await self._ports.spending.admit(self._turn_id, text, most)
        if admission.asks is not None:
            self._asked = ()
            await self._say(admission.asks, phrases)
            await self._flush(phrases)
            return False
        denied = admission.denied
        if denied is None:
            return True
        self._asked, self.error_code = (), denied.code
        self._ports.gate.emit(told(denied, self._turn_id))
        if self._ports.gate.is_open:
            self._ports.gate.emit(Caption("agent", denied.message, 0, 0, True, self._turn_id, only=True))
            if denied.audible:
                await phrases.send(PendingPhrase(denied.message, remembered=False, captioned=True))
        return False

    async def _apologize(self, phrases: Phrases) -> None:
        """There is no answer, or no more of it; without a budget only the former is spoken of.

        It can be read, however long the voice takes: it is no part of the reply's text, and the total runs.
        """
        watch = self._ports.watch
        has_budget = watch.budget is not None
        if not (watch.does("agent", "apologize") if has_budget else not self.reply):
            return
        if self.reply:
            await self._flush(phrases)
        watch.remedied("agent", "apologize")
        apology = self._options.policy.rules.apology
        if has_budget:
            self._ports.gate.emit(Caption("agent", apology, 0, 0, True, self._turn_id, only=True))
        await phrases.send(PendingPhrase(apology, remembered=False, captioned=has_budget))

    async def recite(self, text: str, phrases: Phrases) -> None:
        """Say ``text`` as it stands."""
        if not await self._is_admitted(phrases, Most(characters=len(text))):
            return
        await self._say(text, phrases)
        await self._flush(phrases)

    @property
    def has_phrases(self) -> bool:
        """Whether anything was handed on to be said."""
        return self._phrases_said > 0

    def hasten(self, phrases: Phrases) -> bool:
        """Nothing has been said yet and there is no time left: hand on the words there are, if they can be spoken."""
        phrase = None if self.has_phrases else self._splitter.break_off()
        if phrase is None:
            return False
        try:
            phrases.send_nowait(PendingPhrase(phrase.text))
        except anyio.WouldBlock:  # cannot be: nothing waits before the first phrase
            return False
        self._phrases_said += 1
        self._ports.on_phrase()
        return True

    def remember_tools(self) -> None:
        """The turn is certain: what its tools answered becomes history."""
        for request, output in self._tools_used if self._question.remembered else ():
            self._ports.history.tool_result(request, output)
        self._tools_used.clear()

    def tokens(self) -> TokenUsage:
        """What the reply cost; estimated where it ended before its usage arrived, nothing where it was refused."""
        if self._usage is not None:
            return self._usage
        refused = self._cost_nothing and not self.reply
        return estimate_usage(self._asked, self.reply) if self._asked and not refused else TokenUsage()

    async def _ask(self, phrases: Phrases) -> None:
        limits, brief = self._options.limits, self._options.brief
        watch = self._ports.watch
        reply_limits = ReplyLimits(
            min(limits.model_first_event_s, watch.patience_s("agent") or math.inf),
            min(limits.model_gap_s, watch.gap_s("agent") or math.inf),
            within_s=watch.limit_s("agent") if watch.does("agent", "fallback") else None,
            hedge=watch.does("agent", "hedge"),
        )
        committed = self._ports.gate.committed
        parts = self._ports.agent.reply(
            self._asked, committed=committed, limits=reply_limits, brief=brief, log=self.calls
        )
        async with aclosing(parts):
            async for part in parts:
                match part:
                    case ReplyDelta(text):
                        await self._say(text, phrases)
                    case Asked() | Overtaken() | AnsweredBy():
                        self._note_model(part)
                    case _:
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

    def _note_model(self, part: WhoAnswers) -> None:
        self._models.note(part)
        if isinstance(part, Overtaken):
            self._ports.watch.remedied("agent", "hedge" if part.error_code is None else "fallback")
        if self._models.current is not None:
            self._ports.on_model(self._models.current)

    def _note(self, part: ToolStarted | ToolEnded | ToolHandedOver | ReplyFinished) -> None:
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
            case ReplyFinished(usage=usage, reason=reason):
                self._usage = usage
                self.by_model = part.by_model
                self.end = "finished" if reason == "stop" else reason
                if reason == "filtered":
                    self.verdict = part.verdict or ContentFilter("completion")


def question_of(begin: BeginTurn, request: ReplyRequest | None, options: SessionOptions) -> Question:
    """What a turn answers: the words it began with, or what the client asks for."""
    if request is not None:
        return Question(messages=request.messages, remembered=request.remembered)
    return Question(begin.text, note=options.policy.rules.silence_note if begin.source == "idle" else "")
