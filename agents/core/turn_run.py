"""One turn from certain (or likely) text to the last word heard: a cancel scope with an account.

The agent's text is split into phrases, spoken and written while it is still being generated. A speculative turn does
all of that unheard: its events wait until ``commit``, and if it is abandoned nothing of it remains but its cost. Owned
by the session, which decides when it begins, is committed and is abandoned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from agents.core.accounts import TurnAccount
from agents.core.answering import Answering, AnsweringPorts, PendingPhrase, Phrases, question_of
from agents.core.bridging import Bridge, BridgePorts
from agents.core.event_gate import EventGate
from agents.core.fillers import Fillers
from agents.core.item_ids import spoken_item_id, typed_item_id
from agents.core.latency import LatencyMarks
from agents.core.options import Engines, ReplyRequest, SessionOptions
from agents.core.outbox import Outbox
from agents.core.speaking import Speaking, SpeakingPorts
from agents.core.spoken_items import SpokenItems, Truncated
from agents.core.turn_memory import TurnMemory
from agents.core.turn_types import (
    AbandonReason,
    BeginTurn,
    ClauseFinished,
    ReplyBound,
    ReplyReady,
    ReplyStarted,
    Source,
    TurnEvent,
)
from agents.core.turn_voice import PHRASES_AHEAD, PIECES_AHEAD, TurnVoice, TurnVoicePorts, piece_cutter, unspoken
from agents.core.turn_watch import TurnWatch
from agents.core.voice_requests import VoiceRequests
from agents.core.writer import Heard, Voice, Writer
from agents.events import Failed, Interrupted, TurnCompleted, TurnEnd, TurnStarted
from agents.loop.history import History
from agents.models.port import ModelProfile
from metering.errors import RecorderClosed, RecorderOverloaded
from metering.recorder import Recorder
from metering.usage import StageProvider

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TurnPorts:
    """What a turn works with; shared by all turns of a session. Clocks are injected; ``now_ms`` is audio heard."""

    engines: Engines
    options: Callable[[], SessionOptions]
    writer: Writer
    outbox: Outbox
    history: History
    recorder: Recorder
    monotonic_s: Callable[[], float]
    epoch_ms: Callable[[], int]
    spoken: SpokenItems
    fillers: Fillers
    on_event: Callable[[TurnEvent], None]
    now_ms: Callable[[], int]
    on_over: Callable[[int], None]


class TurnRun:
    """A turn that is being drafted, spoken or accounted for."""

    def __init__(
        self,
        ports: TurnPorts,
        begin: BeginTurn,
        turn_id: str,
        marks: LatencyMarks,
        request: ReplyRequest | None = None,
        *,
        interim: bool = False,
    ) -> None:
        """``request``: what the client asks of this reply; ``interim``: recognition may still correct its words."""
        self.turn, self.turn_id, self.text = begin.turn, turn_id, begin.text
        self.closed = anyio.Event()
        """Set by the desk, once the turn is over and accounted for."""
        self._ports = ports
        self._source: Source = begin.source
        self._utterance = begin.utterance
        self._asked_anew = begin.instead_of is not None
        self._options = ports.options() if request is None else request.options
        self._gate = EventGate(ports.outbox, self._on_ready)
        self._watch = TurnWatch(turn_id, marks, self._options.budget, ports.monotonic_s, self._gate.emit)
        self._watch.words(late=begin.late, interim=interim)
        answering = AnsweringPorts(
            ports.engines.agent,
            ports.history,
            self._gate,
            self._on_text,
            self._on_phrase,
            self._on_model,
            lambda: ports.on_event(ReplyBound(self.turn)),
            self._watch,
            ports.engines.spending,
        )
        self._question = question_of(begin, request, self._options)
        # What is recited is there as a whole.
        speaks = self._options.speak and begin.source != "announcement"
        cutter = piece_cutter(ports.engines.tts, self._options.locale) if speaks else None
        self._streams = cutter is not None
        self._answering = Answering(answering, turn_id, self._options, self._question, splitter=cutter)
        self._scope: anyio.CancelScope | None = None
        self._stopped = False
        self._abandoned: AbandonReason | None = None
        self._truncated_ms: int | None = None
        self._started = False
        self._all_heard = anyio.Event()
        self._phrases: Phrases | None = None
        self._voice: TurnVoice | None = None
        self._bridge: Bridge | None = None
        self._heard: Heard | None = None
        self.account = TurnAccount(turn_id, ports.engines.agent.spec.agent_id, ports.epoch_ms())
        self.account.name_providers(ports.engines, answers=begin.source != "announcement", speaks=self._options.speak)

    @property
    def committed(self) -> bool:
        """Whether the turn is certain."""
        return self._gate.is_open

    @property
    def stopped(self) -> bool:
        """Whether it was ended, perhaps before it began."""
        return self._stopped

    @property
    def answers_utterance(self) -> int | None:
        """The utterance it answers, where it is one that turned out to say something else."""
        return self._utterance if self._asked_anew else None

    @property
    def awaits_client(self) -> bool:
        """Whether all is generated and the client's tools have the next word."""
        return self._answering.end == "tools" and bool(self._answering.handed_over)

    # --- what the session decides ---

    async def run(self) -> None:
        """Answer; returns once the reply is heard, abandoned or failed, and its usage is durable."""
        ports = self._ports
        try:
            if not self._stopped:
                with anyio.CancelScope() as self._scope:
                    await self._perform()
        except asyncio.CancelledError:  # the session is torn down around it
            self.account.interrupted = True
            raise
        except Exception:
            log.exception("a turn failed", extra={"turn_id": self.turn_id})
            self._fail("internal", "Something went wrong on our side.")
        finally:
            if self._abandoned is None:
                end = ports.writer.close if self._all_heard.is_set() else ports.writer.drop
                self._heard = end(self.turn)
                if self.committed and not self._stopped:
                    whole = self._answering.reply or self._apology
                    self._remember(self._said if self._watch.left_out else whole, interrupted=False)
            try:
                ports.on_over(self.turn)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._close_account()

    def is_over(self) -> None:
        """Silence says that the user's turn is over: from here on the wait is for the reply."""
        self._watch.mark("committed")

    def commit(self) -> None:
        """The turn is certain: what was made of it so far may be seen and heard."""
        ports = self._ports
        self._watch.mark("committed")
        if self._source in {"speech", "text"}:
            if self._asked_anew:
                ports.history.ask_anew(self._user_item_id, self.text)
            else:
                ports.history.user(self.text, self._user_item_id)
            self._answering.remember_tools()
        self._gate.open(TurnStarted(self.turn_id, self.text, self._source))
        try:
            ports.recorder.open_turn(self.account.event(self._options.identity, ports.epoch_ms()))
        except (RecorderOverloaded, RecorderClosed) as error:
            self._fail("server.overloaded", str(error))
            self._stop()
            return
        ports.writer.release(self.turn)
        if self._answering.reply:
            self._on_text()

    def abandon(self, reason: AbandonReason) -> None:
        """End at once: silence, then account for what was consumed."""
        ports = self._ports
        self._abandoned = reason
        self._heard = ports.writer.drop(self.turn)
        self.account.interrupted = True
        if self.committed and reason == "went_on":
            ports.history.take_back(self._user_item_id)
        elif self.committed:
            # A refusal stands however little of it was heard, unless the question turns out to be another one.
            refused = self._answering.is_refused and reason != "corrected"
            self._remember(self._answering.reply if refused else self._said, interrupted=not refused)
        if self.committed and reason != "closed":
            heard_ms = 0 if self._heard is None else self._heard.ms
            ports.outbox.emit(Interrupted(self.turn_id, heard_ms, self._said, resumable=False))
        self._stop()

    def truncate(self, audio_ms: int) -> Truncated | None:
        """The client played no more than this of the reply. Returns what is left; ``None`` where nothing is spoken."""
        self._truncated_ms = audio_ms
        self._ports.writer.played(self.turn_id, audio_ms)
        return self._ports.writer.until(self.turn, audio_ms)

    def fill(self) -> None:
        """The answer is late: bridge the wait, unless it has begun after all."""
        if self._phrases is not None and self._bridge is not None and not self._started:
            self._bridge.cross(self._phrases)

    # --- the work ---

    async def _perform(self) -> None:
        has_voice = self._open_voice()
        send, receive = anyio.create_memory_object_stream[PendingPhrase](
            PIECES_AHEAD if self._streams else PHRASES_AHEAD
        )
        self._phrases = send
        self._bridge = self._make_bridge()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(unspoken if self._voice is None else self._voice.run, receive)
            tasks.start_soon(self._bridge.prepare)
            async with send:
                await self._answer(send)
            self._phrases = None
            self._bridge.over()
        if not self.committed and self._answering.error_code is not None:
            return  # a draft that failed costs nothing but itself
        await self._gate.committed.wait()
        if has_voice:
            await self._all_heard.wait()

    def _make_bridge(self) -> Bridge:
        fillers, read = self._ports.fillers, self._on_started
        ports = BridgePorts(
            self.turn_id, self._options, self._gate, self._watch, self.account, self._answering, fillers, read
        )
        return Bridge(ports, self._voice)

    def _open_voice(self) -> bool:
        tts = self._ports.engines.tts
        if tts is None or not self._options.speak:
            return False
        options = self._options
        channel = Voice(
            self.turn,
            self.turn_id,
            options.output_rate_hz,
            self._on_started,
            self._all_heard.set,
            options.client_clears,
            lambda: self._ports.on_event(ClauseFinished(self.turn)),
            *self._watch.egress(),
        )
        self._ports.writer.open(channel, audible=self.committed)
        requests = VoiceRequests(self._answering.calls, self.account, tts.profile)
        ports = SpeakingPorts(tts, self._ports.writer, self._watch, self._on_audio, requests)
        told = TurnVoicePorts(
            self._gate,
            self.turn_id,
            lambda: self._watch.mark("phrase"),
            self._on_voice_lost,
            lambda: self._answering.is_refused,
        )
        self._voice = TurnVoice(Speaking(ports, self.turn, self._options), told)
        return True

    async def _answer(self, phrases: Phrases) -> None:
        if self._source == "announcement":
            await self._answering.recite(self.text, phrases)
            return
        await self._answering.answer(phrases)

    # --- what happens on the way ---

    def _on_model(self, profile: ModelProfile) -> None:
        """Of several models this one answers, or would, and is paid."""
        self.account.providers["agent"] = StageProvider(profile.provider, profile.model)

    def _on_phrase(self) -> None:
        self._watch.mark("phrase")
        if self._bridge is not None:
            self._bridge.over()

    def _on_voice_lost(self) -> None:
        self._watch.late("tts", "text_only" if self._watch.does("tts", "text_only") else "fail")
        self._on_text()

    def _on_text(self) -> None:
        """Where nothing is spoken, text is the first the user gets."""
        if self._voice is not None and not self._voice.lost:
            return
        if self.committed:
            self._on_started()
        else:
            self._on_ready()

    def _on_audio(self) -> None:
        self._watch.mark("audio")
        self._on_ready()

    def _on_ready(self) -> None:
        if not self.committed:
            self._ports.on_event(ReplyReady(self.turn, self._ports.now_ms()))

    def _on_started(self) -> None:
        if self._started:
            return
        self._started = True
        self._watch.mark("sent")
        told = self._watch.report(self.account.workers(), self.account.providers)
        self._watch.answered()
        if told is not None:
            self._ports.outbox.emit(told)
        self._ports.on_event(ReplyStarted(self.turn, self._ports.now_ms()))

    def _fail(self, code: str, message: str) -> None:
        self.account.error_code = code
        self._gate.emit(Failed(code, message, True, self.turn_id))

    # --- the end ---

    @property
    def _apology(self) -> str:
        """What was said in place of a reply that failed: it ends the turn in history, too."""
        return "" if self._answering.error_code is None else self._options.policy.rules.apology

    @property
    def _said(self) -> str:
        """What the user got of the reply: heard where it was spoken, else read."""
        was_spoken = self._heard is not None and self._voice is not None and not self._voice.lost
        return self._heard.text if was_spoken and self._heard is not None else self._answering.reply

    @property
    def _user_item_id(self) -> str:
        if self._utterance is None:
            return typed_item_id(self.turn_id)
        return spoken_item_id(self._options.identity.session_id, self._utterance)

    def _remember(self, text: str, *, interrupted: bool) -> None:
        """What the user got of the reply, and what is asked of the client, become part of the conversation."""
        if not self._question.remembered:
            return
        ports, rate_hz = self._ports, self._options.output_rate_hz
        memory = TurnMemory(self.turn_id, ports.history, ports.spoken, rate_hz)
        self._heard = memory.remember(text, self._answering, self._heard, self._truncated_ms, interrupted=interrupted)

    @property
    def _end(self) -> TurnEnd:
        if self._abandoned is not None:
            return "cancelled" if self._abandoned == "cancelled" else "interrupted"
        if self.account.error_code is not None:
            return "failed"
        return self._answering.end or "finished"

    def _stop(self) -> None:
        self._stopped = True
        if self._scope is not None:  # else the task has not begun, and will not
            self._scope.cancel()

    async def _close_account(self) -> None:
        account, answering, ports = self.account, self._answering, self._ports
        account.asked_models(answering.tokens(), answering.by_model, answering.overtaken)
        account.close(answering.tool_calls, answering.calls)
        account.error_code = account.error_code or answering.error_code
        if self._heard is not None:
            account.said(self._heard.ms, self._heard.synthesized_ms)
        if not self.committed:
            return
        if self._abandoned is None:
            self._watch.conclude()
        event = account.event(self._options.identity, ports.epoch_ms(), self._watch.stages(), self._watch.actions)
        try:
            with anyio.fail_after(self._options.limits.durable_s):
                await ports.recorder.record(event)
        except TimeoutError:
            log.warning("usage is not durable in time; it stays queued", extra={"turn_id": self.turn_id})
            self._fail("internal", "The turn is over, but its usage could not be made durable in time.")
            return
        usage, end, calls = account.usage(), self._end, answering.calls.calls
        done = TurnCompleted(self.turn_id, answering.reply, account.interrupted, usage, account.error_code, end, calls)
        ports.outbox.emit(done)
