"""One turn from certain (or likely) text to the last word heard: a cancel scope with an account.

The agent's text is split into phrases, spoken and written while it is still being generated. A speculative turn does
all of that unheard: its events wait until ``commit``, and if it is abandoned nothing of it remains but its cost. Owned
by the session, which decides when it begins, is committed and is abandoned.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from agents.core.accounts import TurnAccount
from agents.core.latency import LatencyMarks
from agents.core.options import Engines, SessionOptions
from agents.core.outbox import Outbox
from agents.core.speaking import Speaking, SpeakingPorts
from agents.core.turn_types import AbandonReason, BeginTurn, Source
from agents.core.writer import Heard, Voice, Writer
from agents.errors import ModelError
from agents.events import (
    Caption,
    Degraded,
    Failed,
    Interrupted,
    ReplyText,
    ServerEvent,
    ToolCalled,
    ToolReturned,
    TurnCompleted,
    TurnLatency,
    TurnStarted,
)
from agents.loop.agent import ReplyDelta, ReplyFinished, ReplyLimits, ReplyPart, ToolEnded, ToolStarted
from agents.loop.history import History
from agents.loop.phrases import PhraseSplitter
from agents.models.port import TokenUsage, ToolRequest
from audio.errors import EngineError
from metering.errors import RecorderOverloaded
from metering.recorder import Recorder
from metering.usage import StageProvider

log = logging.getLogger(__name__)

PHRASES_AHEAD = 4
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class TurnPorts:
    """What a turn works with; shared by all turns of a session. Clocks are injected."""

    engines: Engines
    options: Callable[[], SessionOptions]
    writer: Writer
    outbox: Outbox
    history: History
    recorder: Recorder
    monotonic_s: Callable[[], float]
    epoch_ms: Callable[[], int]
    on_started: Callable[[int], None]
    on_over: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Phrase:
    text: str
    remembered: bool = True


class TurnRun:
    """A turn that is being drafted, spoken or accounted for."""

    def __init__(self, ports: TurnPorts, begin: BeginTurn, turn_id: str, marks: LatencyMarks) -> None:
        self.turn = begin.turn
        self.turn_id = turn_id
        self.text = begin.text
        self.marks = marks
        self._ports = ports
        self._source: Source = begin.source
        self._options = ports.options()
        self._scope: anyio.CancelScope | None = None
        self._committed = anyio.Event()
        self._all_heard = anyio.Event()
        self._unsent: list[ServerEvent] = []
        self._tools_used: list[tuple[ToolRequest, str]] = []
        self._reply = ""
        self._phrases: MemoryObjectSendStream[_Phrase] | None = None
        self._speaking: Speaking | None = None
        self._mute = False
        self._started = False
        self._abandoned = False
        self._ending = False
        self._heard: Heard | None = None
        self.account = TurnAccount(turn_id, ports.engines.agent.spec.agent_id, ports.epoch_ms())

    @property
    def committed(self) -> bool:
        """Whether the turn is certain."""
        return self._committed.is_set()

    # --- what the session decides ---

    async def run(self) -> None:
        """Answer; returns once the reply is heard, abandoned or failed, and its usage is durable."""
        ports = self._ports
        try:
            if not self._ending:
                with anyio.CancelScope() as self._scope:
                    await self._perform()
        except Exception:
            log.exception("a turn failed", extra={"turn_id": self.turn_id})
            self._fail("internal", "Something went wrong on our side.", retryable=True)
        finally:
            self._end()
            ports.on_over(self.turn)
            with anyio.CancelScope(shield=True), anyio.move_on_after(self._options.limits.durable_s):
                await self._close_account()

    def commit(self) -> None:
        """The turn is certain: what was made of it so far may be seen and heard."""
        ports = self._ports
        self.marks.mark("committed", ports.monotonic_s())
        self._committed.set()
        if self._source != "announcement":
            ports.history.user(self.text)
            self._remember_tools()
        try:
            ports.recorder.open_turn(self.account.event(self._options.identity, ports.epoch_ms(), ()))
        except RecorderOverloaded as error:
            self._fail("server.overloaded", str(error), retryable=True)
            self._stop()
        ports.outbox.emit(TurnStarted(self.turn_id, self.text, self._source))
        for event in self._unsent:
            ports.outbox.emit(event)
        self._unsent.clear()
        ports.writer.release(self.turn)
        if self._reply and self._speaking is None:
            self._on_started()

    def abandon(self, reason: AbandonReason) -> None:
        """End at once: silence, then account for what was consumed."""
        ports = self._ports
        self._abandoned = True
        self._heard = ports.writer.drop(self.turn)
        self.account.interrupted = True
        if self.committed:
            said = self._reply if self._heard is None else self._heard.text
            ports.history.assistant_heard(said, interrupted=True)
            if reason != "closed":
                heard_ms = 0 if self._heard is None else self._heard.ms
                ports.outbox.emit(Interrupted(self.turn_id, heard_ms, said, resumable=False))
        self._stop()

    def fill(self, text: str) -> None:
        """The answer is late: say ``text`` before it, unless the answer has begun after all."""
        if self._phrases is not None and not self._reply and not self._mute:
            try:
                self._phrases.send_nowait(_Phrase(text, remembered=False))
            except anyio.WouldBlock:
                return

    # --- the work ---

    async def _perform(self) -> None:
        self._open_voice()
        send, receive = anyio.create_memory_object_stream[_Phrase](PHRASES_AHEAD)
        self._phrases = send
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._speak, receive)
            async with send:
                await self._generate(send)
            self._phrases = None
        if not self.committed and self.account.error_code is not None:
            return
        await self._committed.wait()
        if self._speaking is not None:
            await self._all_heard.wait()

    def _open_voice(self) -> None:
        tts = self._ports.engines.tts
        if tts is None or not self._options.speak:
            return
        self.account.providers["tts"] = StageProvider(tts.profile.provider, tts.profile.model)
        voice = Voice(self.turn, self.turn_id, self._options.output_rate_hz, self._on_started, self._all_heard.set)
        self._ports.writer.open(voice, audible=self.committed)
        ports = SpeakingPorts(tts, self._ports.writer, self._on_first_audio)
        self._speaking = Speaking(ports, self.turn, self._options)

    async def _generate(self, phrases: MemoryObjectSendStream[_Phrase]) -> None:
        splitter = PhraseSplitter(self._options.locale)
        try:
            if self._source == "announcement":
                await self._say_text(self.text, splitter, phrases)
            else:
                await self._ask_agent(splitter, phrases)
        except ModelError as error:
            log.warning("the model failed", extra={"turn_id": self.turn_id, "provider": error.provider})
            self.account.error_code = error.code
            if not self.committed:
                return  # a draft that failed costs nothing but itself: the turn is answered anew
            self._fail(error.code, str(error), retryable=error.retryable)
            if not self._reply:
                await phrases.send(_Phrase(self._options.policy.rules.apology, remembered=False))
        for phrase in splitter.flush():
            await phrases.send(_Phrase(phrase.text))

    async def _ask_agent(self, splitter: PhraseSplitter, phrases: MemoryObjectSendStream[_Phrase]) -> None:
        agent, limits = self._ports.engines.agent, self._options.limits
        profile = agent.profile
        self.account.providers["agent"] = StageProvider(profile.provider, profile.model)
        history = self._ports.history
        system = agent.system_prompt
        messages = history.messages(system) if self.committed else history.with_user(self.text, system)
        reply_limits = ReplyLimits(limits.model_first_event_s, limits.model_gap_s)
        self.account.tokens = TokenUsage(sum(len(m.text) for m in messages) // CHARACTERS_PER_TOKEN, estimated=True)
        parts = agent.reply(messages, committed=self._committed, limits=reply_limits)
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, ReplyDelta):
                    await self._say_text(part.text, splitter, phrases)
                else:
                    self._on_part(part)

    async def _say_text(self, text: str, splitter: PhraseSplitter, phrases: MemoryObjectSendStream[_Phrase]) -> None:
        self._reply += text
        self._emit(ReplyText(self.turn_id, text))
        if self._speaking is None and self.committed:
            self._on_started()
        for phrase in splitter.feed(text):
            self.marks.mark("phrase", self._ports.monotonic_s())
            await phrases.send(_Phrase(phrase.text))

    def _on_part(self, part: ReplyPart) -> None:
        match part:
            case ToolStarted(request=request):
                self._emit(ToolCalled(self.turn_id, request.call_id, request.name, request.arguments))
            case ToolEnded(request=request, outcome=outcome):
                self.account.tool_calls += 1
                output = ToolReturned(self.turn_id, request.call_id, request.name, outcome.output, outcome.error)
                self._emit(output)
                self._tools_used.append((request, outcome.output))
                if self.committed:
                    self._remember_tools()
            case ReplyFinished(usage=usage):
                self.account.tokens = usage
            case ReplyDelta():
                pass

    def _remember_tools(self) -> None:
        for request, output in self._tools_used:
            self._ports.history.tool_result(request, output)
        self._tools_used.clear()

    async def _speak(self, phrases: MemoryObjectReceiveStream[_Phrase]) -> None:
        async with phrases:
            async for phrase in phrases:
                if self._speaking is None or self._mute:
                    continue
                self.marks.mark("phrase", self._ports.monotonic_s())
                try:
                    await self._say(self._speaking, phrase)
                except EngineError as error:
                    self._lose_voice(error)
        if self._speaking is not None:
            await self._speaking.finish()

    async def _say(self, speaking: Speaking, phrase: _Phrase) -> None:
        spoken = await speaking.say(phrase.text, remembered=phrase.remembered)
        if spoken is not None:
            self.account.tts_characters += spoken.characters
            caption = Caption("agent", spoken.text, spoken.start_ms, spoken.end_ms, True, self.turn_id)
            self._emit(caption)

    def _lose_voice(self, error: EngineError) -> None:
        log.warning("speech synthesis failed", extra={"turn_id": self.turn_id, "provider": error.provider})
        self._mute = True
        self._emit(Degraded("speech", "text", f"The voice failed ({error}); the answer goes on as text."))

    def _on_started(self) -> None:
        if self._started:
            return
        self._started = True
        self.marks.mark("sent", self._ports.monotonic_s())
        stages = self.marks.stages({stage: who.provider for stage, who in self.account.providers.items()})
        if stages:
            self._ports.outbox.emit(TurnLatency(self.turn_id, stages))
        self._ports.on_started(self.turn)

    def _on_first_audio(self) -> None:
        self.marks.mark("audio", self._ports.monotonic_s())

    def _emit(self, event: ServerEvent) -> None:
        if self.committed:
            self._ports.outbox.emit(event)
        else:
            self._unsent.append(event)

    def _fail(self, code: str, message: str, *, retryable: bool) -> None:
        self.account.error_code = code
        self._emit(Failed(code, message, retryable, self.turn_id))

    # --- the end ---

    def _stop(self) -> None:
        self._ending = True
        if self._scope is not None:  # else the task has not begun, and will not
            self._scope.cancel()

    def _end(self) -> None:
        if self._abandoned:
            return
        self._heard = self._ports.writer.drop(self.turn)
        if self.committed:
            self._ports.history.assistant_heard(self._reply, interrupted=False)

    async def _close_account(self) -> None:
        account, ports = self.account, self._ports
        if account.tokens.estimated:
            written = len(self._reply) // CHARACTERS_PER_TOKEN
            account.tokens = TokenUsage(account.tokens.input_tokens, 0, written, estimated=True)
        if self._heard is not None:
            account.audio_ms_out = self._heard.ms
            account.audio_ms_synthesized += self._heard.synthesized_ms
        if not self.committed:
            return
        stages = self.marks.stages({})
        await ports.recorder.record(account.event(self._options.identity, ports.epoch_ms(), stages))
        ports.outbox.emit(
            TurnCompleted(self.turn_id, self._reply, account.interrupted, account.usage(), account.error_code)
        )
