"""One conversation, with or without a connection at the moment.

Hosts a ``Session`` for its whole life: takes every event from its outbox, makes frames of it, keeps them for replay
and sends them to the connection that is attached. A lost connection only detaches; ``attach`` goes on where the
client stopped. Runs in the registry's task group, never in a connection's.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final

import anyio

from agents.core.options import Identity as SessionIdentity
from agents.core.options import SessionOptions
from agents.core.session import Session
from agents.core.sound_meter import ticks
from agents.errors import SessionClosed
from agents.events import (
    AudioOut,
    Failed,
    ServerEvent,
    SessionDraining,
    SessionStarted,
    SpeechStartedHeard,
    TurnCompleted,
    TurnStarted,
)
from server.budgets.purse import SessionPurse
from server.contracts.errors import ERRORS, ErrorCode
from server.conversations.notes import Notes
from server.guard import Identity
from server.observability.metrics import Metrics
from server.observability.session_watch import SessionWatch
from server.sessions.delivery import Delivery
from server.sessions.media import VoiceSink
from server.sessions.unsent import UnsentAudio
from server.transports.connection import Disconnected, Frame, Link

logger = logging.getLogger(__name__)

NORMAL_CLOSURE: Final = 1_000
GOING_AWAY: Final = 1_001
CLOSE_LIMIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How the socket is closed when the session has ended."""

    close_code: int = NORMAL_CLOSURE
    reason: str = ""


class LiveSession:
    """A hosted conversation. All methods are for the event loop."""

    def __init__(
        self,
        identity: SessionIdentity,
        owner: Identity,
        session: Session,
        delivery: Delivery,
        watch: SessionWatch,
        metrics: Metrics,
    ) -> None:
        self.identity = identity
        self.session_id = identity.session_id
        self.agent_id: str | None = None
        self.owner = owner
        self.session = session
        self.delivery = delivery
        self.started = anyio.Event()
        """Set once the session can be spoken to, or has ended before."""
        self.ended = anyio.Event()
        self.closed = anyio.Event()
        """Set once its connection was told, too: nothing of it is left."""
        self._met = anyio.Event()
        """Set once there was a connection: what happens before is kept for it."""
        self.born_at_s = time.monotonic()
        self.active_at_s = self.born_at_s
        """When the client last said anything but audio, spoke, or was answered (monotonic)."""
        self.detached_at_s: float | None = self.born_at_s
        self.purse: SessionPurse | None = None
        """What it may spend; closed when it ends."""
        self._watch = watch
        self._metrics = metrics
        self._connection: Link | None = None
        self._ending: Ending | None = None
        self._draining = False
        self._open_turns: set[str] = set()
        self._user_speaks = False
        self._unsent = UnsentAudio()

    # --- life ---

    async def run(self) -> None:
        """Hold the conversation until it ends; never raises for a fault of its own."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._deliver)
                try:
                    if self.purse is not None:
                        await self.purse.prepare()
                    await self.session.run()
                finally:
                    self.session.outbox.close()
                    self._met.set()
        except Exception:
            logger.exception("session failed", extra={"session_id": self.session_id})
            await self._tell_internal()
        finally:
            self._watch.end()
            if self.purse is not None:
                self.purse.close()
            self.started.set()
            self.ended.set()
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_LIMIT_S):
                if self._connection is not None:
                    await self._farewell(self._connection)
            self.closed.set()

    def end(self, code: ErrorCode | None = None, message: str | None = None) -> None:
        """End the conversation: as the client asked (no code), or telling it why. The first reason stays."""
        if self._ending is not None:
            return
        self._ending = Ending()
        if code is not None:
            meaning = ERRORS[code]
            self._ending = Ending(meaning.close_code, message or meaning.sentence)
            self.session.outbox.emit(Failed(code, message or meaning.sentence, meaning.retryable))
        self.session.close()

    def drain(self, grace_ms: int) -> None:
        """The server is going away: end as soon as nobody is in the middle of something."""
        self._draining = True
        self.session.outbox.emit(SessionDraining(grace_ms))
        self._end_if_drained()

    def leave(self) -> None:
        """The server goes away now."""
        if self._ending is None:
            self._ending = Ending(GOING_AWAY, ERRORS[ErrorCode.SERVER_DRAINING].sentence)
            self.session.close()

    @property
    def notes(self) -> Notes | None:
        """Who notes down what is said; None where nothing is kept."""
        return self._watch.notes

    @property
    def connection(self) -> Link | None:
        """The socket that is attached."""
        return self._connection

    def update(self, options: SessionOptions) -> None:
        """Go on with these options."""
        self._watch.hold_to(options.budget)
        self.session.update(options)

    def touch(self) -> None:
        """The client said something."""
        self.active_at_s = time.monotonic()

    # --- connections ---

    def adopt(self, connection: Link) -> None:
        """Send to this connection, which has seen every frame so far (it began the session)."""
        self._connection = connection
        self.detached_at_s = None
        self._met.set()

    def carry_audio(self, sink: VoiceSink | None) -> None:
        """From now on the agent's audio goes there (``None``: into frames), first what was kept for that. Only where
        the session is ``resumable``."""
        resumption = self.delivery.resumption
        assert resumption is not None, "only these take another sink"
        for event in resumption.carry_audio(sink):
            self._count(event, connected=False)

    async def attach(self, connection: Link, last_event_id: int) -> None:
        """Go on over a new connection: ``session.resumed``, what it missed, then what comes. Raises Disconnected."""
        resumption = self.delivery.resumption
        assert resumption is not None, "sessions that cannot be resumed are never found"
        previous, self._connection = self._connection, None
        if previous is not None:
            self.detached_at_s = time.monotonic()
            previous.cut(GOING_AWAY, "resumed on another connection")
        self.touch()
        await connection.send(resumption.resumed(self.session_id, last_event_id))
        sent = last_event_id
        # Frames made meanwhile are only kept: this connection is not the one they would be sent to yet.
        while missed := resumption.after(sent):
            self._unsent.forget(missed[0][0])
            for event_id, frame in missed:
                self.session.sound.sent(self._unsent.take(event_id))
                await connection.send(frame)
                sent = event_id
        self.adopt(connection)
        if self.ended.is_set():
            await self._farewell(connection)

    @property
    def resumable(self) -> bool:
        """Whether a client may come back after its connection was lost."""
        return self.delivery.resumption is not None

    def detach(self, connection: Link) -> None:
        """The connection is gone; wait for another. Nothing happens where another has taken over already."""
        if self._connection is connection:
            self._connection = None
            self.detached_at_s = time.monotonic()
            if not self.resumable:
                self.end()

    # --- events ---

    async def _deliver(self) -> None:
        outbox = self.session.outbox
        await self._met.wait()
        while True:
            try:
                event = await outbox.get()
            except SessionClosed:
                break
            self._watch.observe(event)
            self._note(event)
            frames, connection = self.delivery.frames(event), self._connection
            if isinstance(event, AudioOut):
                self._count(event, connected=connection is not None)
            for frame in frames:
                if self._connection is connection:  # else a new connection took over, and replays what was not sent
                    await self._send(frame)
            if isinstance(event, SessionStarted):
                self.agent_id = event.agent_id
                self.started.set()
                if self.purse is not None:
                    self.purse.attach(outbox.emit)
        if outbox.overflowed:
            self._metrics.connections_cut.labels("outbox_overflow").inc()
            self._ending = Ending(ERRORS[ErrorCode.RATE_LIMITED].close_code, "events were not read in time")
        self.session.close()

    def _count(self, event: AudioOut, *, connected: bool) -> None:
        """Audio that is on its way to the client, or kept for its coming back."""
        length, resumption = ticks(len(event.samples), event.sample_rate_hz), self.delivery.resumption
        if resumption is None:
            self.session.sound.sent(length if connected else 0)
        elif resumption.plays or (connected and not resumption.waits):
            self.session.sound.sent(length)
        elif not resumption.waits:
            self._unsent.keep(resumption.replay.last_id, length)

    async def _send(self, frame: Frame) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            await connection.send(frame)
        except Disconnected:
            self.detach(connection)

    def _note(self, event: ServerEvent) -> None:
        match event:
            case TurnStarted():
                self._open_turns.add(event.turn_id)
                self._user_speaks = False
                self.touch()
            case TurnCompleted():
                self._open_turns.discard(event.turn_id)
                self.touch()
                self._end_if_drained()
            case SpeechStartedHeard():
                self._user_speaks = True
                self.touch()
            case _:
                pass

    def _end_if_drained(self) -> None:
        busy = self._connection is not None and (self._user_speaks or bool(self._open_turns))
        if self._draining and not busy:
            self.leave()

    async def _farewell(self, connection: Link) -> None:
        ending = self._ending or Ending()
        await connection.close(ending.close_code, ending.reason)

    async def _tell_internal(self) -> None:
        meaning = ERRORS[ErrorCode.INTERNAL]
        self._ending = Ending(meaning.close_code, meaning.sentence)
        failed = Failed(ErrorCode.INTERNAL, meaning.sentence, meaning.retryable)
        self._watch.observe(failed)
        with anyio.move_on_after(CLOSE_LIMIT_S):
            for frame in self.delivery.frames(failed):
                await self._send(frame)
