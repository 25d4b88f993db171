"""A user of the bench and what they get: speech with pauses, interruptions, cancels; each turn's answer, timed.

Owns one session on virtual time: what is said when, and, for every utterance, what came of it and when. Counts audio
that nobody may hear any more. Knows no fault; driven by ``latency_scenarios``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

import numpy as np
from latency_ears import Said

from agents.core.options import Engines, SessionOptions
from agents.core.session import Session
from agents.errors import SessionClosed
from agents.events import (
    AudioOut,
    AudioOutEnded,
    Caption,
    Failed,
    Interrupted,
    ReplyText,
    Resumed,
    ServerEvent,
    TurnCompleted,
    TurnStarted,
)
from agents.latency_events import TurnLatency
from metering.recorder import Recorder

FRAME_MS: Final = 20
LOUD: Final = np.full(16 * FRAME_MS, 8_000, np.int16)
QUIET: Final = np.zeros(16 * FRAME_MS, np.int16)
WORD_MS: Final = 220
PAUSE_MS: Final = 250
"""What a pause inside an utterance is longer than 200 ms, at the mean; it is distributed exponentially."""
HUNG_S: Final = 20.0
"""No answer, or no end of it, for so long is no latency any more."""
SENTENCES: Final = (
    "What time is it now?",
    "When does the next train leave?",
    "Could you move my appointment to Thursday, please?",
    "Is the museum open on Sunday?",
    "How far is it to the station?",
    "I would like to book a table for four.",
)
PAUSES, BARGES_IN, CANCELS = 0.2, 0.15, 0.05
"""Shares of utterances with a pause inside, of answers that are interrupted, and of turns that are cancelled."""


@dataclass
class TurnSeen:
    """One turn as the client saw it. Times in seconds of the loop's clock."""

    started_s: float
    first_audio_s: float | None = None
    first_text_s: float | None = None
    captions: list[str] = field(default_factory=list[str])
    replied: bool = False
    failed: bool = False
    completed: bool = False
    stopped: bool = False
    held: bool = False
    latency: TurnLatency | None = None
    breaches: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


@dataclass(frozen=True)
class Asked:
    """One utterance, when its last sample was sent, and what came of it: ``turn`` where it became one."""

    zero_s: float
    turn: TurnSeen | None
    cancelled: bool
    hung: bool
    resumed_s: float | None = None
    """When an earlier turn went on instead: what was said over it came to nothing."""
    barge_in_ms: float | None = None
    """How long after its onset the agent fell silent, where it was spoken over an answer."""


class Client:
    """Takes a session's events as a client does."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.turns: dict[str, TurnSeen] = {}
        self.latest: TurnSeen | None = None
        self.stale: list[str] = []
        """Audio that must not have been sent, and why."""
        self.silenced_s: list[float] = []
        self.resumed_s: list[float] = []
        self.last_event_s = 0.0
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def collect(self) -> None:
        try:
            while True:
                event = await self.session.outbox.get()
                self.last_event_s = self._loop.time()
                self.take(event, self.last_event_s)
                self._changed.set()
        except SessionClosed:
            return

    async def changed(self, limit_s: float) -> None:
        """Return with the next event, or after the limit."""
        self._changed.clear()
        try:
            async with asyncio.timeout(max(0.0, limit_s)):
                await self._changed.wait()
        except TimeoutError:
            return

    def answer(self, since_s: float) -> TurnSeen | None:
        """The turn that answers what was said up to then."""
        latest = self.latest
        return latest if latest is not None and latest.started_s >= since_s else None

    def take(self, event: ServerEvent, now_s: float) -> None:
        """One event, which came then."""
        match event:
            case TurnStarted(turn_id=turn_id):
                self.latest = self.turns[turn_id] = TurnSeen(now_s)
            case AudioOut(turn_id=turn_id):
                self._audio(turn_id, now_s)
            case Interrupted(turn_id=turn_id, resumable=resumable):
                self.silenced_s.append(now_s)
                self.turns[turn_id].held = resumable
                self.turns[turn_id].stopped |= not resumable
            case Resumed(turn_id=turn_id):
                self.resumed_s.append(now_s)
                self.turns[turn_id].held = False
            case AudioOutEnded(turn_id=turn_id):
                self.turns[turn_id].stopped = True
            case TurnCompleted(turn_id=turn_id):
                turn = self.turns[turn_id]
                turn.completed = turn.stopped = True
            case TurnLatency(turn_id=turn_id):
                self.turns[turn_id].latency = event
                self.turns[turn_id].breaches = [(each.stage, each.action) for each in event.breaches]
            case _:
                self._words(event, now_s)

    def _words(self, event: ServerEvent, now_s: float) -> None:
        match event:
            case Caption(speaker="agent", text=text, turn_id=str(turn_id)):
                turn = self.turns[turn_id]
                turn.captions.append(text)
                turn.first_text_s = turn.first_text_s or now_s
            case ReplyText(turn_id=turn_id):
                turn = self.turns[turn_id]
                turn.replied = True
                turn.first_text_s = turn.first_text_s or now_s
            case Failed(turn_id=str(turn_id)) if turn_id in self.turns:
                self.turns[turn_id].failed = True
            case _:
                pass

    def _audio(self, turn_id: str, now_s: float) -> None:
        turn = self.turns.get(turn_id)
        if turn is None:
            self.stale.append(f"{now_s:.3f}: audio of a turn that has not started")
            return
        why = "ended" if turn.stopped else "held" if turn.held else "overtaken" if turn is not self.latest else None
        if why is not None:
            self.stale.append(f"{now_s:.3f}: audio of a turn that was {why}")
        turn.first_audio_s = turn.first_audio_s or now_s


class User:
    """One session's user; ``talk`` holds the conversation."""

    def __init__(self, rng: Random, options: SessionOptions, make_engines: Callable[[Said], Engines]) -> None:
        self.said = Said()
        self.asked: list[Asked] = []
        self._rng = rng
        self._options = options
        self._engines = make_engines(self.said)
        self._sent = 0
        self._loop = asyncio.get_running_loop()

    async def talk(self, turns: int, recorder: Recorder) -> Client:
        """Ask so many things, one after the other. Returns what the client saw."""
        session = Session(
            self._options, self._engines, recorder, lambda: 1_700_000_000_000 + round(self._loop.time() * 1_000)
        )
        client = Client(session)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(session.run())
            tasks.create_task(client.collect())
            await asyncio.sleep(self._rng.uniform(0.01, 3.0))
            over_answer = False
            for _ in range(turns):
                over_answer = await self._ask(client, over_answer=over_answer)
            session.close()
        return client

    async def _ask(self, client: Client, *, over_answer: bool) -> bool:
        """Say something and wait for what comes of it. Returns whether the next is to be said over the answer."""
        rng, began_s = self._rng, self._loop.time()
        await self._say(client.session)
        zero_s = self._loop.time() - FRAME_MS / 1_000
        silenced = next((at for at in client.silenced_s if at >= began_s), None) if over_answer else None
        barge_in_ms = None if silenced is None else (silenced - began_s) * 1_000
        cancel_s = zero_s + rng.uniform(0.1, 2.0) if rng.random() < CANCELS else None
        barges_in = cancel_s is None and rng.random() < BARGES_IN
        hung = not await self._await_answer(client, zero_s, cancel_s, barges_in=barges_in)
        resumed_s = next((at for at in client.resumed_s if at >= zero_s), None)
        self.asked.append(Asked(zero_s, client.answer(zero_s), cancel_s is not None, hung, resumed_s, barge_in_ms))
        turn = client.answer(zero_s)
        if barges_in and turn is not None and not turn.completed:
            return True
        await self._quiet(client.session, 200)
        await asyncio.sleep(rng.expovariate(1.0))
        return False

    async def _say(self, session: Session) -> None:
        rng = self._rng
        words = rng.choice(SENTENCES).split()
        pause_after = rng.randrange(1, len(words) - 1) if rng.random() < PAUSES else None
        for number, word in enumerate(words):
            self.said.say(word, self._sent + 16 * WORD_MS)
            await self._frames(session, LOUD, WORD_MS)
            if number == pause_after:
                await self._quiet(session, round(min(1_000.0, 200 + rng.expovariate(1 / PAUSE_MS))))

    async def _await_answer(self, client: Client, zero_s: float, cancel_s: float | None, *, barges_in: bool) -> bool:
        """Whether the turn came to an end (or is to be interrupted now) within the limit."""
        until_s = zero_s + HUNG_S
        speak_up_s: float | None = None
        is_cancelled = False
        while (now_s := self._loop.time()) < until_s:
            turn = client.answer(zero_s)
            if cancel_s is not None and now_s >= cancel_s:
                client.session.cancel()  # before there is anything to cancel, the answer comes all the same
                cancel_s, is_cancelled = None, True
            if turn is not None and turn.completed:
                return True
            if barges_in and turn is not None and turn.first_audio_s is not None:
                speak_up_s = speak_up_s or turn.first_audio_s + self._rng.uniform(0.2, 1.2)
                if now_s >= speak_up_s:
                    return True
            if turn is None and self._is_at_rest(client, now_s, zero_s):
                return True
            if turn is None or cancel_s is not None or speak_up_s is not None or is_cancelled:
                await self._quiet(client.session, FRAME_MS)
            else:  # a microphone that sends nothing while its user listens
                await client.changed(until_s - now_s)
        return False

    @staticmethod
    def _is_at_rest(client: Client, now_s: float, zero_s: float) -> bool:
        """Whether nothing more will come: an earlier turn answered, or nobody does."""
        over = client.latest is None or client.latest.completed
        return over and now_s > max(client.last_event_s, zero_s) + 5.0

    async def _quiet(self, session: Session, ms: int) -> None:
        await self._frames(session, QUIET, ms)

    async def _frames(self, session: Session, frame: np.ndarray, ms: int) -> None:
        for _ in range(ms // FRAME_MS):
            session.hear(frame)
            self._sent += len(frame)
            await asyncio.sleep(FRAME_MS / 1_000)
