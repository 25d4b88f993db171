"""The reading side of one connection that speaks our own protocol: from the first message to the last.

One reader per connection: it feeds the codec and calls the session. The one writer is the session's own
(``server.sessions.live``); before a session exists, this sends its errors itself. A fault of a client is answered
with an ``error`` event and, where it is fatal, with the code's close code; it never becomes an exception. Whether the
connection is a socket or a data channel makes no difference, but for where the audio is.
"""

from __future__ import annotations

import time
from dataclasses import replace

import anyio

from agents.events import Failed
from audio.errors import AudioFormatError
from server.contracts.errors import ERRORS, ErrorCode
from server.errors import Failure, Refused, describe
from server.guard import Identity, require
from server.host import Host
from server.observability.arrival import Arrival
from server.permissions import Permission
from server.sessions.delivery import VoiceDelivery
from server.sessions.intake import AudioIntake
from server.sessions.live import NORMAL_CLOSURE, LiveSession
from server.sessions.replay import ReplayBuffer
from server.sessions.voice_options import chat_options, session_options
from server.transports.channel_link import TOO_FAST
from server.transports.connection import Disconnected, Duplex
from server.transports.media_port import MediaPort
from server.wire.client_events import (
    AudioIn,
    Cancel,
    ChatCancel,
    ChatStart,
    ClientEvent,
    Commit,
    Consent,
    Played,
    Resume,
    Stop,
    Update,
    VoiceStart,
)
from server.wire.errors import WireError
from server.wire.voice_json import VoiceCodec, WireLimits


class VoiceConversation:
    """One connection's conversation."""

    def __init__(
        self,
        host: Host,
        connection: Duplex,
        identity: Identity,
        request_id: str,
        arrival: Arrival,
        media: MediaPort | None = None,
    ) -> None:
        """``media`` carries the audio where it does not travel in the messages."""
        self._host = host
        self._connection = connection
        self._identity = identity
        self._limits = host.settings.limits
        limits = WireLimits(max_audio_bytes=self._limits.max_message_bytes, max_faults=self._limits.max_bad_messages)
        codec = VoiceCodec(request_id, limits=limits, voice=arrival.transport != "chat")
        self._delivery = VoiceDelivery(codec, ReplayBuffer(self._limits.replay_buffer_bytes), host.epoch_ms)
        self._media = media
        self._arrival = arrival
        self._intake = AudioIntake()
        self._bad_audio = 0

    async def run(self) -> None:
        """Serve the connection until it is gone."""
        connection = self._connection
        try:
            live = await self._open()
        except Disconnected:
            return
        if live is None:
            return
        try:
            await self._converse(live)
        except Disconnected as gone:
            self._silence()
            if gone.code == TOO_FAST:
                live.end(ErrorCode.RATE_LIMITED, "Messages came faster than they could be read.")
                return
            live.detach(connection)
            if gone.code == NORMAL_CLOSURE:
                live.end()
            elif gone.code == ERRORS[ErrorCode.REQUEST_TOO_LARGE].close_code:  # too large to be read at all
                live.end(ErrorCode.REQUEST_TOO_LARGE)

    # --- before the session ---

    async def _open(self) -> LiveSession | None:
        """The session this connection begins or resumes; None where it was refused (and told so)."""
        try:
            with anyio.fail_after(self._limits.handshake_timeout_s):
                return await self._first_words()
        except Refused as refused:
            await self._refuse(describe(refused))
        except TimeoutError:
            failure = describe(Refused(ErrorCode.REQUEST_INVALID, "No session was begun in time."))
            await self._refuse(failure)
        return None

    async def _first_words(self) -> LiveSession:
        while True:
            frame = await self._connection.receive()
            try:
                event = self._delivery.codec.feed(frame)
            except WireError as error:
                if error.fatal:
                    raise Refused(error.code, error.message) from error
                await self._tell(error.to_event())
                continue
            match event:
                case VoiceStart():
                    return await self._begin_voice(event)
                case ChatStart():
                    return await self._begin_chat(event)
                case Resume():
                    return await self._resume(event)
                case _:
                    await self._tell(_fault("A session must be begun first."))

    async def _begin_voice(self, start: VoiceStart) -> LiveSession:
        live = await self._host.open_voice(
            start.settings, self._delivery, self._identity, self._greeted, media=self._media is not None
        )
        live.adopt(self._connection)
        self._open_audio(live)
        await self._started(live)
        return live

    async def _begin_chat(self, start: ChatStart) -> LiveSession:
        wish, mode = start.latency_budget, start.mode
        live = await self._host.open_chat(
            start.agent_id, self._delivery, self._identity, self._greeted, wish, mode=mode
        )
        live.adopt(self._connection)
        await self._started(live)
        live.session.prompt(start.prompt, start.request_id)
        return live

    async def _resume(self, resume: Resume) -> LiveSession:
        require(self._identity, Permission.TALK)
        live = self._host.registry.find(resume.session_id, self._identity)
        if self._identity.agent_id not in (None, live.agent_id):
            raise Refused(ErrorCode.SESSION_NOT_FOUND)
        live.owner = self._identity  # from now on it lasts as long as what they came back with
        delivery = live.delivery.resumption
        assert delivery is not None, "only sessions that can be resumed are found"
        self._delivery = delivery
        self._open_audio(live)
        await live.attach(self._connection, resume.last_event_id)
        return live

    @property
    def _greeted(self) -> Arrival:
        """The conversation's beginning: connecting counts from the client's hello, not from its handshake."""
        return replace(self._arrival, at_s=time.monotonic())

    def _open_audio(self, live: LiveSession) -> None:
        live.carry_audio(self._media)
        settings = self._delivery.codec.settings
        if settings is None:
            return
        self._intake.expect(settings.input_format)  # beside a track, too: what was said while it connected
        if self._media is not None:
            self._media.ear = live.session.hear

    def _silence(self) -> None:
        """The connection is gone: its audio goes nowhere, unless another has taken over."""
        if self._media is not None:
            self._media.ear = None
            self._delivery.keep_audio(self._media)

    async def _started(self, live: LiveSession) -> None:
        try:
            await live.started.wait()
        except BaseException:
            live.end(ErrorCode.PROVIDER_TIMEOUT)
            raise

    # --- the conversation ---

    async def _converse(self, live: LiveSession) -> None:
        receive, feed = self._connection.receive, self._delivery.codec.feed
        while True:
            frame = await receive()
            try:
                event = feed(frame)
            except WireError as error:
                if error.fatal:
                    live.end(error.code, error.message)
                else:
                    live.session.outbox.emit(error.to_event())
                continue
            if type(event) is AudioIn:
                await self._hear(live, event.payload)
            else:
                live.touch()
                self._act(live, event)

    async def _hear(self, live: LiveSession, payload: bytes) -> None:
        try:
            await self._intake.hear(live.session, payload)
        except AudioFormatError as error:
            self._bad_audio += 1
            if self._bad_audio >= self._limits.max_bad_messages:
                live.end(ErrorCode.REQUEST_INVALID, _sentence(error))
            else:
                live.session.outbox.emit(_fault(_sentence(error)))
            return
        self._bad_audio = 0

    def _act(self, live: LiveSession, event: ClientEvent) -> None:
        session = live.session
        match event:
            case Commit():
                session.commit()
            case Cancel(turn_id) | ChatCancel(turn_id):
                session.cancel(turn_id)
            case Played(audio_ms, turn_id):
                session.played(turn_id, audio_ms)
            case Stop():
                live.end()
            case Update():
                self._update(live, event)
            case ChatStart():
                self._prompt(live, event)
            case Consent(given):
                if live.purse is not None:
                    live.purse.consent(given=given)
            case VoiceStart() | Resume() | AudioIn():  # the codec refuses a second beginning; audio went its own way
                pass

    def _update(self, live: LiveSession, update: Update) -> None:
        settings = update.settings
        try:
            latency = self._host.latencies.voice(self._identity, live.agent_id or "", settings)
        except Refused as refused:
            self._delivery.codec.take_back(update)
            live.session.outbox.emit(_refusal(refused))
            return
        live.update(session_options(settings, live.identity, latency, media=self._media is not None))

    def _prompt(self, live: LiveSession, event: ChatStart) -> None:
        if event.agent_id is not None and event.agent_id != live.agent_id:
            fault = _fault("The agent of a session cannot change; begin another session.")
            live.session.outbox.emit(replace(fault, turn_id=event.request_id))
            return
        if event.latency_budget is not None and self._delivery.codec.settings is None:
            try:
                latency = self._host.latencies.chat(self._identity, live.agent_id or "", event.latency_budget)
            except Refused as refused:
                live.session.outbox.emit(replace(_refusal(refused), turn_id=event.request_id))
                return
            live.update(chat_options(live.identity, latency))
        live.session.prompt(event.prompt, event.request_id)

    # --- refusals ---

    async def _tell(self, failed: Failed) -> None:
        self._host.metrics.observe(failed)
        for frame in self._delivery.frames(failed):
            await self._connection.send(frame)

    async def _refuse(self, failure: Failure) -> None:
        failed = Failed(failure.code, failure.message, failure.meaning.retryable, details=failure.details)
        try:
            await self._tell(failed)
            await self._connection.close(failure.meaning.close_code, failure.message)
        except Disconnected:
            return


def _fault(message: str) -> Failed:
    return Failed(ErrorCode.REQUEST_INVALID, message, ERRORS[ErrorCode.REQUEST_INVALID].retryable)


def _refusal(refused: Refused) -> Failed:
    return replace(_fault(str(refused)), details=refused.details)


def _sentence(error: AudioFormatError) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."
