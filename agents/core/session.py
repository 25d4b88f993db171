"""One conversation: the owner of its turn machine, its tasks and everything that lives as long as it does.

Events from hearing, from turns and from the client go through ``_post`` into the pure machine, one at a time, and its
effects are carried out by plain calls; audio never passes this way. The session is one task group: the writer, at most
one live turn, and turns that are closing their accounts. Driven by a transport at the edge, which knows it by the
methods below and by the ``outbox``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import anyio

from agents.core.admitting import affords
from agents.core.awaited_reply import AwaitedReply
from agents.core.echo_guard import EchoGuard, EchoPorts
from agents.core.end_hints import ask_hint
from agents.core.fillers import Fillers
from agents.core.greeting import greeting_events
from agents.core.hearing import Hearing, HearingPorts
from agents.core.input_desk import InputDesk, InputPorts
from agents.core.item_ids import spoken_item_id
from agents.core.item_speech import ItemPorts, ItemSpeech, ReadSamples
from agents.core.machine import step
from agents.core.moves import live_turn
from agents.core.options import Engines, ReplyRequest, SessionOptions
from agents.core.outbox import Outbox
from agents.core.phases import Listening, State
from agents.core.policy_now import policy_now
from agents.core.quality_watch import QualityWatch
from agents.core.recognition import Recognition, recognition_options
from agents.core.reports import Unheard, apology, edge_told, unheard_told
from agents.core.sound_meter import SoundMeter, ticks
from agents.core.spoken_items import SpokenItems, Truncated
from agents.core.stand_in import stand_in
from agents.core.timers import AudioTimers
from agents.core.transcript_desk import TranscriptDesk
from agents.core.turn_desk import DeskPorts, TurnDesk
from agents.core.turn_run import TurnPorts
from agents.core.turn_types import (
    BeginTurn,
    CancelRequested,
    CloseRequested,
    CommitRequested,
    Effect,
    EndUtterance,
    FlushTranscript,
    InputCleared,
    PromptReceived,
    ReplyEnded,
    ReplyRequested,
    ReportUnheard,
    SetTimer,
    TakeTurn,
    TimerFired,
    TurnEvent,
)
from agents.core.writer import Writer
from agents.events import Degraded, Failed, RecordingTranscribed
from agents.loop.history import History
from audio.endpoint.port import EndOfTurnModel
from audio.formats import HEARING_RATE_HZ, Samples
from metering.ledger import UNCLAIMED_SUFFIX
from metering.recorder import Recorder

log = logging.getLogger(__name__)

STALLED_S: Final = 0.5
"""Audio that stays away this long in the middle of speech is a pause: a mute button, or a network that stalls."""


class Session:
    """A conversation between one user and one agent. Nothing runs before ``run``; all methods are for the loop."""

    def __init__(
        self, options: SessionOptions, engines: Engines, recorder: Recorder, epoch_ms: Callable[[], int]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.outbox = Outbox()
        self.sound = SoundMeter()  # told by the transport of the audio it sent, and who knows a call's time
        self._options = options
        self._engines = engines = engines.for_session(lambda change: self.outbox.emit(stand_in(change)))
        self._recorder = recorder
        self._epoch_ms = epoch_ms
        self._state = State()
        self._inbox: deque[TurnEvent] = deque()
        self._stall: asyncio.TimerHandle | None = None
        self._stepping = False
        self._tasks: asyncio.TaskGroup | None = None
        self._closing = asyncio.Event()
        self._timers = AudioTimers(lambda timer, now_ms: self._post(TimerFired(timer, now_ms)))
        self._quality = QualityWatch()
        self._transcripts = TranscriptDesk(self.outbox, loop.time)
        self._writer = Writer(self.outbox, clock_ms=lambda: round(loop.time() * 1_000))
        self._hearing = self._make_hearing()
        self._recognition = Recognition(engines, self._hearing, lambda: self._options)
        self._history = History(engines.history_limits)
        self._desk = self._make_desk(loop.time)
        self._input = self._make_input()
        self._said_meanwhile: list[tuple[str, str]] = []
        beside = self._recognition.recognised_elsewhere
        self._recordings = ItemSpeech(engines, ItemPorts(self._on_recording, beside, partial(self._report, None)))
        self._awaited = AwaitedReply(self._desk, self.outbox)

    # --- life ---

    async def run(self) -> None:
        """Hold the conversation until ``close``; every task of it ends before this returns."""
        try:
            # asyncio's own task group: turns also begin from plain callbacks (timers, recognition); anyio's cannot.
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                try:
                    writing = tasks.create_task(self._writer.run(), name="writer")
                    self._announce(await self._recognition.open())
                    await self._closing.wait()
                    self._post(CloseRequested())
                    await self._desk.idle()
                    writing.cancel()
                finally:
                    self._tasks = None
        finally:
            self._tasks = None
            self._timers.close()
            self._input.close()
            if self._stall is not None:
                self._stall.cancel()
            with anyio.CancelScope(shield=True):
                self.outbox.drop_all_audio()
                self._hearing.close()
                self.sound.close()
                await self._desk.close_accounts(f"{self._options.identity.session_id}{UNCLAIMED_SUFFIX}")
                await self._recognition.aclose()
            self.outbox.close()

    def close(self) -> None:
        """End the conversation; ``run`` returns once its turns are accounted for."""
        self._closing.set()

    # --- what the client does ---

    def hear(self, samples: Samples, received: int | None = None) -> None:
        """The next samples of the user's microphone: 16 kHz int16, any length. Never blocks. ``received``: how many
        ticks of audio came for it (``sound_meter.ticks``), where that was at another rate."""
        self.sound.received(ticks(len(samples), HEARING_RATE_HZ) if received is None else received)
        self._hearing.hear(samples)
        now_ms = self._hearing.now_ms
        if self._stall is not None:
            self._stall.cancel()
        self._stall = asyncio.get_running_loop().call_later(STALLED_S, self._hearing.stalled)
        self._echo.weigh(speaking=self._hearing.speaking)
        self._timers.advance(now_ms, hold=self._hearing.undecided or self._echo.suspects)
        for issue in self._quality.check(self._hearing.quality, now_ms):
            self.outbox.emit(issue)

    def commit(self) -> None:
        """The user's turn ends now (push-to-talk)."""
        if not self._options.hands_free:
            self._input.commit()
            return
        self._post(CommitRequested(self._hearing.commit(), self._hearing.now_ms))

    def clear(self) -> None:
        """What was said and not committed is taken back."""
        utterance = self._hearing.clear()
        if utterance is None:
            return
        if self._options.hands_free:
            self._post(InputCleared(utterance))
        else:
            self._hearing.end(utterance)
        self._transcripts.forget(utterance)

    def cancel(self, turn_id: str | None = None) -> None:
        """Stop the agent."""
        live = self._desk.turn_id(live_turn(self._state.phase))
        if live is not None and turn_id in {None, live}:
            self._post(CancelRequested())
        elif turn_id is None or not self._desk.cancel_aside(turn_id):
            self._awaited.cancel(turn_id)

    def respond(self, turn_id: str, request: ReplyRequest | None = None) -> None:
        """A reply to the conversation as it stands, as the turn ``turn_id``.

        It waits for what the user is saying and for what is being recognised. While another reply runs it is refused,
        unless that one only waits for the client's tools. One in writing that is not remembered runs beside the rest.
        """
        if self._tasks is not None:
            request = request or ReplyRequest(self._options)
            self._awaited.ask(turn_id, request, live_turn(self._state.phase), self._tasks)
            self._answer_awaited()

    def truncate(self, item_id: str, audio_ms: int) -> Truncated | None:
        """The client played no more than this of a reply: what is left of it, ``None`` where none is known."""
        return self._desk.truncate(item_id, audio_ms)

    def transcribe_item(self, item_id: str, read: ReadSamples) -> None:
        """An item of the conversation is the speech that ``read`` brings; its words are found, and replies wait."""
        if self._tasks is not None:
            recognising = self._recordings.recognise(item_id, read, recognition_options(self._options))
            self._tasks.create_task(recognising, name="recording")

    def _on_recording(self, found: RecordingTranscribed) -> None:
        self._history.say(found.item_id, found.text or "")
        self.outbox.emit(found)
        self._answer_awaited()

    @property
    def history(self) -> History:
        """What is remembered of the conversation, for a client that keeps it itself."""
        return self._history

    def prompt(self, text: str, turn_id: str | None = None) -> None:
        """Typed text instead of speech. A ``turn_id`` of the client's own is answered once, however often it comes."""
        if turn_id is not None and not self._desk.is_new(turn_id):
            message = "This request_id was answered before; give every prompt its own."
            self.outbox.emit(Failed("request.invalid", message, False, turn_id))
            return
        self._desk.expect_prompt(turn_id)
        self._post(PromptReceived(text, self._hearing.now_ms))

    def announce(self, text: str) -> None:
        """Say this, unless somebody has the floor: then nothing happens."""
        self._post(PromptReceived(text, self._hearing.now_ms, "announcement"))

    def played(self, turn_id: str | None, audio_ms: int) -> None:
        """The client reports how much of a turn's audio (``None``: the one in progress) it has really played."""
        self._writer.played(turn_id, audio_ms)

    def update(self, options: SessionOptions) -> None:
        """Take new options; a running turn keeps those it began with, and nobody changes who they are."""
        utterance = self._hearing.open_utterance
        if self._options.hands_free and not options.hands_free and utterance is not None:
            self._post(InputCleared(utterance, kept=True))  # what was said stays, for the client to commit
        self._hearing.update(options.vad, hands_free=options.hands_free)
        reopens = recognition_options(options) != recognition_options(self._options)
        policy = options.policy if self._hearing.can_tell_speech else replace(options.policy, auto_end=False)
        self._options = replace(options, identity=self._options.identity, policy=policy)
        if reopens:
            self._reopen_soon()

    def _reopen_soon(self) -> None:
        if self._tasks is not None and self._recognition.is_open:
            self._tasks.create_task(self._reopen(), name="recognition")

    async def _reopen(self) -> None:
        lost = await self._recognition.open()
        if lost is not None:
            self.outbox.emit(lost)

    # --- the owner ---

    def _post(self, event: TurnEvent) -> None:
        """Run the machine on one event; events that arise from its effects follow in order."""
        if self._input.take(event):
            return
        self._inbox.append(self._echo.read(event))
        if self._stepping or self._tasks is None:
            return
        self._stepping = True
        try:
            while self._inbox:
                event = self._inbox.popleft()
                if (told := edge_told(event, self._hearing.now_ms)) is not None:
                    self.outbox.emit(told)
                self._state, effects = step(self._state, event, policy_now(self._options, self._history, self._engines))
                for effect in effects:
                    self._carry_out(effect, self._tasks)
        finally:
            self._stepping = False
        self._answer_awaited()

    def _answer_awaited(self) -> None:
        """Begin the reply the client asked for, once nobody speaks, all is understood and the last turn is closed."""
        busy = self._input.busy or self._recordings.busy or self._desk.has_turns
        if busy or not isinstance(self._state.phase, Listening):
            return
        if self._awaited.begin():
            self._post(ReplyRequested(self._hearing.now_ms))
        elif self._options.greet and (prompt := self._echo.take_prompt()):
            self._post(PromptReceived(prompt, self._hearing.now_ms, "announcement"))

    def _carry_out(self, effect: Effect, tasks: asyncio.TaskGroup) -> None:
        match effect:
            case SetTimer(purpose="transcript" | "verdict" | "filler"):
                self._timers.set_engine_wait(effect.timer, effect.due_ms)
            case SetTimer():
                self._timers.set(effect.timer, effect.due_ms)
            case FlushTranscript():
                self._transcripts.asked()
                self._hearing.flush(effect.utterance, effect.through_ms)
                if (model := self._engines.end_of_turn) is not None:
                    tasks.create_task(self._ask_hint(model, effect, self._hearing.recent()), name="end of turn")
            case EndUtterance():
                self._hearing.end(effect.utterance)
                if not effect.used:
                    self._transcripts.forget(effect.utterance)
                    self._report(effect)
            case TakeTurn():
                self._take(effect)
            case ReportUnheard():
                self._report(effect)
            case _:
                if isinstance(effect, BeginTurn) and effect.source != "request":
                    self._awaited.forget()
                self._desk.carry_out(effect, tasks)

    def _take(self, taken: TakeTurn) -> None:
        identity = self._options.identity
        item_id = spoken_item_id(identity.session_id, taken.utterance)
        self._said_meanwhile.append((taken.text, item_id))
        if live_turn(self._state.phase) is None:
            self._remember_said()
        self._transcripts.settle_as(taken.utterance, taken.text)
        self._account_for(item_id)

    def _remember_said(self) -> None:
        """What was said over a reply stands after it in the conversation."""
        for text, item_id in self._said_meanwhile:
            self._history.user(text, item_id)
        self._said_meanwhile.clear()

    def _account_for(self, item_id: str) -> None:
        """Where nobody answers there is no turn to bill speech to: every utterance is billed by itself."""
        if not self._options.answers and self._tasks is not None:
            self._tasks.create_task(self._desk.close_accounts(item_id), name="account")

    def _on_over(self, turn: int) -> None:
        self._remember_said()
        if live_turn(self._state.phase) == turn:
            self._post(ReplyEnded(turn, self._hearing.now_ms))

    def _report(self, effect: Unheard) -> None:
        for event in unheard_told(effect, self._engines, self._hearing.now_ms):
            self.outbox.emit(event)
        if said := apology(effect, self._options, self._engines):
            self._post(PromptReceived(said, self._hearing.now_ms, "announcement"))

    # --- hearing ---

    async def _ask_hint(self, model: EndOfTurnModel, flushed: FlushTranscript, samples: Samples) -> None:
        hint = await ask_hint(model, flushed, samples, self._options.limits.hint_s, lambda: self._hearing.now_ms)
        if hint is not None:
            self._post(hint)

    def _on_vad_failure(self, error: Exception) -> None:
        log.error("voice activity detection failed", exc_info=error)
        self._options = replace(self._options, policy=replace(self._options.policy, auto_end=False))
        self.outbox.emit(Degraded("hands_free", "push_to_talk", "Voice activity can no longer be told; press to talk."))

    # --- making and closing ---

    def _make_hearing(self) -> Hearing:
        make, vad = self._engines.make_detector if self._options.listen else None, self._options.vad
        echo = EchoPorts(self._writer, lambda: self._hearing, self._post, self.outbox.emit, lambda: self._options)
        self._echo = EchoGuard(echo)
        told, may = self._transcripts, affords(self._engines)
        ports = HearingPorts(
            self._post, told.update, told.learn, self._on_vad_failure, self._echo.admit, may, self.sound
        )
        return Hearing(None if make is None else make(vad), ports, vad, hands_free=self._options.hands_free)

    def _make_input(self) -> InputDesk:
        mine = self._options.identity.session_id
        ports = InputPorts(mine, self.outbox, self._history, self._transcripts, self._account_for, self._answer_awaited)
        return InputDesk(ports, self._hearing)

    def _make_desk(self, monotonic_s: Callable[[], float]) -> TurnDesk:
        turns = TurnPorts(
            engines=self._engines,
            options=lambda: self._options,
            writer=self._writer,
            outbox=self.outbox,
            history=self._history,
            spoken=SpokenItems(),
            fillers=Fillers(lambda: self._options),
            recorder=self._recorder,
            monotonic_s=monotonic_s,
            epoch_ms=self._epoch_ms,
            on_event=self._post,
            now_ms=lambda: self._hearing.now_ms,
            on_over=self._on_over,
        )
        heard_by, item_id = self._recognition.take_heard, partial(spoken_item_id, self._options.identity.session_id)
        taken_ms, sound, told = self._hearing.take_recognised_ms, self.sound, self._transcripts
        ports = DeskPorts(taken_ms, heard_by, sound, self._answer_awaited, item_id, self._reopen_soon)
        return TurnDesk(turns, ports, told)

    def _announce(self, lost: Degraded | None) -> None:
        for event in greeting_events(self._engines, self._options, lost):
            self.outbox.emit(event)
        if self._options.greet and (greeting := self._engines.agent.spec.greeting):
            self.announce(greeting)
