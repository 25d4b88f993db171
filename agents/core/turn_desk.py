"""The turns of one session: begins, commits, holds, resumes and abandons them as the turn machine says.

Owns the running turns, the writer they speak through and what was consumed but belongs to no turn yet. Knows nothing
of audio coming in. Driven by the session, which owns the task group the turns run in.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Final, assert_never

import anyio

from agents.core.accounts import TurnAccount
from agents.core.admitting import downgrade
from agents.core.item_ids import reply_item_id
from agents.core.latency import LatencyMarks
from agents.core.options import ReplyRequest
from agents.core.sound_meter import SoundMeter
from agents.core.spoken_items import Truncated
from agents.core.transcript_desk import TranscriptDesk
from agents.core.turn_run import TurnPorts, TurnRun
from agents.core.turn_types import (
    AbandonTurn,
    AwaitReply,
    BeginTurn,
    CommitTurn,
    CorrectText,
    FinishClause,
    HoldSpeech,
    ResumeSpeech,
    RewordTurn,
    SpeakFiller,
)
from agents.events import Interrupted, LongSilence, Resumed
from agents.models.carried import TURN
from audio.fallback import Maker
from metering.usage import StageProvider

Stopping = HoldSpeech | FinishClause
RunEffect = RewordTurn | AwaitReply | CommitTurn | AbandonTurn | SpeakFiller | Stopping | ResumeSpeech
TurnEffect = BeginTurn | CorrectText | RunEffect

KNOWN_IDS: Final = 256
"""How many ids of typed turns are remembered, so that one sent again is not answered again."""


@dataclass(frozen=True, slots=True)
class DeskPorts:
    """What the desk asks of its session: audio newly handed to recognition (ms), who recognised it (samples), and what
    sound came and left (``sound``).

    ``on_closed`` is called when a turn is over and accounted for. ``spoken_item_id`` names an utterance's entry.
    ``on_thrift``: from now on turns have the cheapest engines.
    """

    take_recognised_ms: Callable[[], int]
    take_recognisers: Callable[[], Mapping[Maker, int]]
    sound: SoundMeter
    on_closed: Callable[[], None]
    spoken_item_id: Callable[[int], str]
    on_thrift: Callable[[], None]


class TurnDesk:
    """Carries out what the turn machine decides about turns."""

    def __init__(self, turns: TurnPorts, ports: DeskPorts, transcripts: TranscriptDesk) -> None:
        self._turns = turns
        self._ports = ports
        self._transcripts = transcripts
        self._runs: dict[int, TurnRun] = {}
        self._prompt_ids: deque[str] = deque()
        self._requested: tuple[str, ReplyRequest] | None = None
        self._asides = 0
        self._known_ids: deque[str] = deque(maxlen=KNOWN_IDS)
        self._discarded: list[TurnAccount] = []
        self._idle = asyncio.Event()
        self._context = copy_context()
        """Where turns run: the context the session was made in, not that of whoever brought the event."""

    def is_new(self, turn_id: str) -> bool:
        """Whether no typed turn had this id, as far as is remembered."""
        return turn_id not in self._known_ids

    def expect_prompt(self, turn_id: str | None) -> None:
        """The next typed turn has this id (a new one if ``None``)."""
        turn_id = turn_id or _new_turn_id()
        self._known_ids.append(turn_id)
        self._prompt_ids.append(turn_id)

    def expect_request(self, turn_id: str, request: ReplyRequest) -> None:
        """The next turn the client asks for is this one."""
        self._requested = turn_id, request

    def begin_aside(self, turn_id: str, request: ReplyRequest, tasks: asyncio.TaskGroup) -> None:
        """Answer in writing, beside whatever else goes on."""
        self._asides += 1
        begin = BeginTurn(-self._asides, "", "request", speculative=False)
        marks = LatencyMarks()
        marks.mark("speech_end", self._turns.monotonic_s())
        self._start(TurnRun(self._ports_now(), begin, turn_id, marks, request), tasks)

    @property
    def has_turns(self) -> bool:
        """Whether a turn of the conversation runs, or is being accounted for."""
        return any(turn > 0 for turn in self._runs)

    @property
    def asides(self) -> int:
        """Replies that are being made beside the conversation."""
        return sum(1 for turn in self._runs if turn < 0)

    def awaits_client(self, turn: int) -> bool:
        """Whether a turn has nothing more to generate, and the client's tools have the next word."""
        run = self._runs.get(turn)
        return run is not None and run.awaits_client

    def cancel_aside(self, turn_id: str) -> bool:
        """Stop a reply that is made beside the conversation; whether there is one of this id."""
        for turn, run in self._runs.items():
            if turn < 0 and run.turn_id == turn_id:
                run.abandon("cancelled")
                return True
        return False

    def truncate(self, item_id: str, audio_ms: int) -> Truncated | None:
        """The client played no more than ``audio_ms`` of a reply: what is left of it, ``None`` if none is known."""
        for run in self._runs.values():
            if reply_item_id(run.turn_id) == item_id and run.committed:
                return run.truncate(audio_ms)
        left = self._turns.spoken.until(item_id, audio_ms)
        if left is not None:
            self._turns.history.shorten(item_id, left.text or "")
        return left

    def carry_out(self, effect: TurnEffect, tasks: asyncio.TaskGroup) -> None:
        """Do one thing to one turn; a turn that is gone needs nothing done."""
        if isinstance(effect, BeginTurn):
            self._begin(effect, tasks)
            return
        if isinstance(effect, CorrectText):
            self._turns.history.correct(self._ports.spoken_item_id(effect.utterance), effect.text)
            self._transcripts.correct(effect.utterance, effect.text)
            return
        run = self._runs.get(effect.turn)
        if run is not None:
            self._carry_out(effect, run)

    def _carry_out(self, effect: RunEffect, run: TurnRun) -> None:
        match effect:
            case RewordTurn():
                run.text = effect.text
            case AwaitReply():
                run.is_over()
            case CommitTurn():
                self._commit(run)
            case AbandonTurn():
                run.abandon(effect.reason)
            case SpeakFiller():
                run.fill()
            case HoldSpeech() | FinishClause():
                self._stop(run, effect)
            case ResumeSpeech():
                self._resume(run)
            case _:
                assert_never(effect)

    def turn_id(self, turn: int | None) -> str | None:
        run = None if turn is None else self._runs.get(turn)
        return None if run is None else run.turn_id

    async def idle(self) -> None:
        """Return once no turn runs and every account is closed."""
        while self._runs:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def close_accounts(self, request_id: str) -> None:
        """What was consumed since the last turn and belongs to none, if anything, gets an event of its own."""
        turns = self._turns
        account = TurnAccount(request_id, turns.engines.agent.spec.agent_id, turns.epoch_ms())
        self._claim(account)
        if not account.is_empty():
            options = turns.options()
            with anyio.move_on_after(options.limits.durable_s):
                await turns.recorder.record(account.event(options.identity, turns.epoch_ms()))

    def _begin(self, begin: BeginTurn, tasks: asyncio.TaskGroup) -> None:
        turn_id, request = self._next_id(begin)
        marks = LatencyMarks()
        now_s = self._turns.monotonic_s()
        if begin.stopped_ms is None:
            marks.mark("speech_end", now_s)
        else:
            marks.mark("speech_end", now_s - (self._turns.now_ms() - begin.stopped_ms) / 1_000)
        zero_s = marks.at_s["speech_end"]  # that is the commit, where the client ends turns: words may be known before
        if begin.instead_of is not None:
            marks.mark("transcribed", now_s)
        elif begin.stopped_ms is not None:
            marks.mark("flushed", max(zero_s, self._transcripts.flushed_at_s))
            marks.mark("transcribed", now_s if begin.late else max(zero_s, self._transcripts.transcribed_at_s))
        interim = begin.stopped_ms is not None and self._transcripts.is_interim
        run = TurnRun(self._ports_now(), begin, turn_id, marks, request, interim=interim)
        before = None if begin.instead_of is None else self._runs.get(begin.instead_of)
        if before is None:
            self._start(run, tasks, certain=not begin.speculative)
        else:
            self._runs[run.turn] = run
            tasks.create_task(self._run(run, before), name=run.turn_id, context=self._context.copy())

    def _ports_now(self) -> TurnPorts:
        """What the next turn works with: the cheapest engines, once there is little left to spend."""
        engines = self._turns.engines
        if (cheaper := engines.cheaper) is not None:
            self._turns.outbox.emit(downgrade(engines, cheaper))
            self._turns = replace(self._turns, engines=cheaper)
            self._ports.on_thrift()
        return self._turns

    def _next_id(self, begin: BeginTurn) -> tuple[str, ReplyRequest | None]:
        match begin.source:
            case "text":
                return self._prompt_ids.popleft(), None
            case "request" if self._requested is not None:
                (turn_id, request), self._requested = self._requested, None
                return turn_id, request
            case "idle":
                turn_id, now_ms = _new_turn_id(), self._turns.now_ms()
                idle_ms = self._turns.options().policy.idle_ms or 0
                self._turns.outbox.emit(LongSilence(turn_id, max(0, now_ms - idle_ms), now_ms))
                return turn_id, None
            case _:
                return _new_turn_id(), None

    def _start(self, run: TurnRun, tasks: asyncio.TaskGroup, *, certain: bool = True) -> None:
        self._runs[run.turn] = run
        if certain:
            self._commit(run)
        tasks.create_task(self._run(run), name=run.turn_id, context=self._context.copy())

    async def _run(self, run: TurnRun, before: TurnRun | None = None) -> None:
        TURN.set(run.turn_id)  # in this task and those it starts
        try:
            if before is not None:  # clients see one reply end before the next begins; accounts close within a limit
                await before.closed.wait()
                if not run.stopped:
                    self._commit(run)
            await run.run()
        finally:
            del self._runs[run.turn]
            run.closed.set()
            if (drafts := self._turns.engines.drafts) is not None:
                drafts.spent(*run.account.spent(was_draft=not run.committed))
            if not run.committed:  # a draft that came to nothing: its cost goes to the next account that is closed
                self._discarded.append(run.account)
                if (spending := self._turns.engines.spending) is not None:
                    spending.dropped(run.turn_id)
            if not self._runs:
                self._idle.set()
            self._ports.on_closed()

    def _commit(self, run: TurnRun) -> None:
        self._claim(run.account)
        if run.answers_utterance is None:
            self._transcripts.settle(run.turn_id)
        else:
            self._transcripts.correct(run.answers_utterance, run.text, run.turn_id)
        run.commit()

    def _claim(self, account: TurnAccount) -> None:
        account.audio_ms_in = self._ports.take_recognised_ms()
        account.work.heard(self._ports.take_recognisers())
        account.claim(self._ports.sound)
        stt = self._turns.engines.stt
        if account.audio_ms_in and stt is not None:
            account.providers["stt"] = StageProvider(stt.profile.provider, stt.profile.model)
        account.absorb(self._discarded)
        self._discarded.clear()

    def _stop(self, run: TurnRun, effect: Stopping) -> None:
        if isinstance(effect, FinishClause):
            self._turns.writer.finish_clause(run.turn)
            return
        heard = self._turns.writer.hold(run.turn)
        if heard is not None:
            self._turns.outbox.emit(Interrupted(run.turn_id, heard.ms, heard.text, resumable=True))

    def _resume(self, run: TurnRun) -> None:
        from_ms = self._turns.writer.resume(run.turn)
        if from_ms is not None:
            self._turns.outbox.emit(Resumed(run.turn_id, from_ms))


def _new_turn_id() -> str:
    return f"turn_{uuid.uuid4().hex}"
