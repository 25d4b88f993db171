"""Carries out what a realtime client asks for: acts of the codec become calls of the session.

One per session. Knows neither sockets nor JSON; driven by ``server.transports.realtime_conversation``.
"""

from __future__ import annotations

from typing import assert_never

import anyio
from anyio.to_thread import run_sync

from agents.core.spoken_items import Truncated
from agents.events import Failed, ProtocolReply
from agents.loop.history import FIRST
from audio.errors import AudioFormatError
from server.contracts.errors import ERRORS, ErrorCode
from server.sessions.allowance import ResponseWindow
from server.sessions.intake import AudioIntake
from server.sessions.live import LiveSession
from server.sessions.realtime_delivery import RealtimeDelivery
from server.sessions.realtime_options import Surroundings, realtime_options, reply_request
from server.wire.client_events import AudioIn, Cancel, Commit
from server.wire.realtime.acts import (
    Act,
    AddItem,
    ClearInput,
    ClearOutput,
    Configure,
    RemoveItem,
    Respond,
    Tell,
    Truncate,
)
from server.wire.realtime.faults import RealtimeFault

Done = Commit | Cancel | ClearInput | ClearOutput | Configure | Respond | Tell | AddItem | RemoveItem | Truncate


class RealtimeConduct:
    """One session, as its realtime client directs it."""

    def __init__(self, live: LiveSession, delivery: RealtimeDelivery, around: Surroundings, window: ResponseWindow):
        self._live = live
        self._delivery = delivery
        self._around = around
        self._window = window
        self._intake = AudioIntake(joined=True)
        self._intake.expect(delivery.codec.state.config.settings.input_format)
        self._options = realtime_options(delivery.codec.state.config.settings, around)

    async def carry_out(self, acts: list[Act]) -> None:
        """Do what one message asked for, in order."""
        for act in acts:
            if isinstance(act, AudioIn):
                await self._hear(act.payload)
            else:
                self._live.touch()
                self._do(act)
            await anyio.lowlevel.checkpoint()

    async def _hear(self, payload: bytes) -> None:
        if self._around.media:
            return  # audio comes beside the messages
        if not self._options.hands_free:  # nobody looks for speech: whoever sends audio is there
            self._live.touch()
        try:
            await self._intake.hear(self._live.session, payload)
        except AudioFormatError as error:
            self._refuse(RealtimeFault(f"Invalid 'audio': {error}.", param="audio"))

    def _do(self, act: Done) -> None:
        session = self._live.session
        match act:
            case Commit():
                session.commit()
            case Cancel(turn_id):
                session.cancel(turn_id)
            case ClearInput():
                session.clear()
            case ClearOutput():
                session.cancel()
            case Configure():
                self._configure(act)
            case Respond():
                self._respond(act)
            case Tell(body):
                session.outbox.emit(ProtocolReply(body))
            case _:
                self._edit(act)

    def _edit(self, act: AddItem | RemoveItem | Truncate) -> None:
        session = self._live.session
        match act:
            case AddItem():
                self._add(act)
            case RemoveItem(item_id):
                session.history.remove(item_id)
                if (notes := self._live.notes) is not None:
                    notes.removed(item_id)
            case Truncate(item_id, audio_ms, content_index):
                left = session.truncate(item_id, audio_ms) or Truncated(audio_ms, None)
                if (notes := self._live.notes) is not None and left.text is not None:
                    notes.shortened(item_id, left.text, left.audio_ms)
                told = self._delivery.codec.truncated(item_id, left, content_index)
                session.outbox.emit(ProtocolReply(told))
            case _:
                assert_never(act)

    def _configure(self, act: Configure) -> None:
        self._options = realtime_options(act.settings, self._around)
        self._live.update(self._options)
        self._intake.expect(act.settings.input_format)
        self._delivery.open_audio(act.settings.output_format, self._options.output_rate_hz)

    def _respond(self, act: Respond) -> None:
        if self._window.is_used_up:
            meaning = ERRORS[ErrorCode.RATE_LIMITED]
            failed = Failed(ErrorCode.RATE_LIMITED, meaning.sentence, retryable=True, turn_id=act.turn_id)
            self._live.session.outbox.emit(failed)
            return
        self._live.session.respond(act.turn_id, reply_request(act, self._options, self._around))

    def _add(self, act: AddItem) -> None:
        after = FIRST if act.after == "" else act.after
        self._live.session.history.add(act.message, act.item_id, after)
        if (notes := self._live.notes) is not None and act.message.role in {"user", "assistant"}:
            notes.added(act.item_id, "user" if act.message.role == "user" else "agent", act.message.text)
        if act.audio:
            # Beside what is heard; of Opus only the decoder could tell, and the protocol has none.
            self._live.session.sound.received(self._intake.ticks(act.audio) or 0)
            self._live.session.transcribe_item(act.item_id, lambda: run_sync(self._intake.decoded, act.audio))

    def tell_failure(self) -> None:
        """Something went wrong on our side while a message was carried out."""
        self._refuse(RealtimeFault(ERRORS[ErrorCode.INTERNAL].sentence, code="internal", kind="server_error"))

    def _refuse(self, fault: RealtimeFault) -> None:
        told = self._delivery.codec.state.fault(fault, None)
        self._live.session.outbox.emit(ProtocolReply(told.body))
