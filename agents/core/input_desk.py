"""Speech the client commits by hand: recognised and made part of the conversation, with nobody answering by itself.

For clients that direct the conversation (``SessionOptions.hands_free`` false): the turn machine has no part in it,
since nobody's floor is at stake. One utterance is recognised at a time; what is committed meanwhile waits. Owned by
the session, which hands it what hearing reports of an utterance it has taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agents.core.hearing import Hearing, Recorded
from agents.core.item_ids import spoken_item_id
from agents.core.outbox import Outbox
from agents.core.transcript_desk import TranscriptDesk
from agents.core.turn_types import TranscriptArrived, TranscriptCorrected, TranscriptFailed, TurnEvent
from agents.events import Failed, InputCommitted, InputFailed
from agents.loop.history import History
from agents.models.port import Message

LIMIT_S: Final = 10.0
"""What recognition gets for speech committed by hand, which may be long; then its best partial must do."""
MAX_WAITING: Final = 8
CORRECTABLE: Final = 4
"""Utterances settled of late, which recognition may still correct."""

EMPTY_INPUT: Final = {"reason": "input_empty"}
"""Details of the failure where there was nothing to commit."""


@dataclass(frozen=True, slots=True)
class InputPorts:
    """What the desk works with. ``on_taken`` is told the item that what was committed has become, ``on_settled`` that
    nothing is being recognised any more."""

    session_id: str
    outbox: Outbox
    history: History
    transcripts: TranscriptDesk
    on_taken: Callable[[str], None]
    on_settled: Callable[[], None]


class InputDesk:
    """What the client has committed and recognition has not answered yet."""

    def __init__(self, ports: InputPorts, hearing: Hearing) -> None:
        self._ports = ports
        self._hearing = hearing
        self._pending: int | None = None
        self._partial = ""
        self._waiting: deque[Recorded] = deque()
        self._settled: deque[int] = deque(maxlen=CORRECTABLE)
        self._limit: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether something committed is still being recognised."""
        return self._pending is not None

    def commit(self) -> None:
        """All that was heard since the last commit becomes part of the conversation."""
        if len(self._waiting) >= MAX_WAITING:
            message = "Too much committed audio waits to be recognised."
            self._ports.outbox.emit(Failed("rate.limited", message, True))
            return
        recorded = self._hearing.seal()
        if recorded is None:
            message = "There is too little audio to commit: at least 100 ms are needed."
            self._ports.outbox.emit(Failed("request.invalid", message, False, details=EMPTY_INPUT))
            return
        self._ports.outbox.emit(InputCommitted(recorded.utterance, recorded.start_ms, recorded.end_ms))
        self._ports.history.add(Message("user", ""), self._item_id(recorded.utterance))
        if self.busy:
            self._waiting.append(recorded)
        else:
            self._recognise(recorded)

    def _recognise(self, recorded: Recorded) -> None:
        self._pending, self._partial = recorded.utterance, ""
        if self._hearing.is_silent(recorded):  # recognisers make words of silence
            self._settle("")
            return
        self._ports.transcripts.asked()
        self._limit = asyncio.get_running_loop().call_later(LIMIT_S, self._give_up, recorded.utterance)
        self._hearing.flush(recorded.utterance, recorded.end_ms)

    def take(self, event: TurnEvent) -> bool:
        """What hearing says of an utterance: whether it was one of ours."""
        match event:
            case TranscriptArrived(utterance=utterance) if utterance == self._pending:
                if event.flushed:
                    self._settle(event.text)
                else:
                    self._partial = event.text
                return True
            case TranscriptFailed(utterance=utterance) if utterance == self._pending:
                self._give_up(utterance)
                return True
            case TranscriptCorrected(utterance=utterance) if utterance in self._settled:
                self._ports.history.correct(self._item_id(utterance), event.text)
                self._ports.transcripts.correct(utterance, event.text)
                return True
            case _:
                return False

    def close(self) -> None:
        """The session ends."""
        if self._limit is not None:
            self._limit.cancel()

    def _give_up(self, utterance: int) -> None:
        if utterance != self._pending:
            return
        if not self._partial:
            self._ports.outbox.emit(InputFailed(utterance, "What was said could not be recognised."))
        self._settle(self._partial)

    def _settle(self, text: str) -> None:
        utterance, self._pending = self._pending, None
        if utterance is None:
            return
        if self._limit is not None:
            self._limit.cancel()
        self._ports.history.say(self._item_id(utterance), text)
        self._ports.transcripts.settle_as(utterance, text)
        self._settled.append(utterance)
        self._hearing.end(utterance)
        self._ports.on_taken(self._item_id(utterance))
        if self._waiting:
            recorded = self._waiting.popleft()
            self._hearing.take_up(recorded)
            self._recognise(recorded)
        else:
            self._ports.on_settled()

    def _item_id(self, utterance: int) -> str:
        return spoken_item_id(self._ports.session_id, utterance)
