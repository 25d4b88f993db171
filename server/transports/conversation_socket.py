"""The reading side of ``/v1/voice/ws`` and ``/v1/ws``: from the handshake to the last frame of one connection.

One reader per connection: it feeds the codec and calls the session. The one writer is the session's own
(``server.sessions.live``); before a session exists, this sends its errors itself. A fault of a client is answered
with an ``error`` event and, where it is fatal, with the code's close code; it never becomes an exception.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import anyio
from starlette.types import Receive, Scope, Send

from agents.events import Failed
from audio.codecs.factory import make_decoder
from audio.codecs.port import Decoder
from audio.errors import AudioFormatError
from audio.formats import HEARING_RATE_HZ
from server.contracts.errors import ERRORS, ErrorCode
from server.edge import deny_socket
from server.errors import Failure, Refused, describe
from server.guard import Identity, header
from server.host import Host
from server.sessions.delivery import Delivery
from server.sessions.live import NORMAL_CLOSURE, LiveSession
from server.sessions.replay import ReplayBuffer
from server.sessions.voice_options import session_options
from server.transports.connection import Connection, Disconnected
from server.wire.client_events import (
    AudioIn,
    Cancel,
    ChatCancel,
    ChatStart,
    ClientEvent,
    Commit,
    Played,
    Resume,
    Stop,
    Update,
    VoiceStart,
)
from server.wire.errors import WireError
from server.wire.voice_json import VoiceCodec, WireLimits

AHEAD_S: Final = 5.0
"""How far a client's audio may run ahead of real time before it is slowed down."""
MAX_SPEED: Final = 10
"""How many times real time it may come at from then on: one session never takes the machine from the others."""


class ConversationSocket:
    """The ASGI endpoint. ``voice`` is False for the chat socket, which takes text only."""

    def __init__(self, host: Host, *, voice: bool) -> None:
        self._host = host
        self._voice = voice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id: str = scope["state"]["request_id"]
        browser = header(scope["headers"], b"origin") is not None
        try:
            self._host.registry.require_hope()
        except Refused as refused:
            # A page cannot read the answer to a refused handshake: it is told over the socket, when it starts.
            if not browser:
                self._host.metrics.errors.labels(refused.code).inc()
                await deny_socket(describe(refused), request_id, receive, send)
                return
        connection = Connection(scope, receive, send)
        reader = _Reader(self._host, connection, scope["state"]["identity"], request_id, voice=self._voice)
        await reader.run()


class _Reader:
    def __init__(self, host: Host, connection: Connection, identity: Identity, request_id: str, *, voice: bool) -> None:
        self._host = host
        self._connection = connection
        self._identity = identity
        self._limits = host.settings.limits
        limits = WireLimits(max_audio_bytes=self._limits.max_message_bytes, max_faults=self._limits.max_bad_messages)
        codec = VoiceCodec(request_id, limits=limits, voice=voice)
        self._delivery = Delivery(codec, ReplayBuffer(self._limits.replay_buffer_bytes), host.epoch_ms)
        self._decoder: Decoder | None = None
        self._bad_audio = 0
        self._heard_s = 0.0
        self._began_at_s = time.monotonic()

    async def run(self) -> None:
        """Serve the connection until it is gone."""
        connection = self._connection
        try:
            await connection.accept()
            live = await self._open()
        except Disconnected:
            return
        if live is None:
            return
        try:
            await self._converse(live)
        except Disconnected as gone:
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
        live = await self._host.open_voice(start.settings, self._delivery, self._identity)
        live.adopt(self._connection)
        self._open_audio(live)
        await self._started(live)
        return live

    async def _begin_chat(self, start: ChatStart) -> LiveSession:
        live = await self._host.open_chat(start.agent_id, self._delivery, self._identity)
        live.adopt(self._connection)
        await self._started(live)
        live.session.prompt(start.prompt, start.request_id)
        return live

    async def _resume(self, resume: Resume) -> LiveSession:
        live = self._host.registry.find(resume.session_id, self._identity)
        await live.attach(self._connection, resume.last_event_id)
        self._delivery = live.delivery
        self._open_audio(live)
        return live

    def _open_audio(self, live: LiveSession) -> None:
        settings = live.delivery.codec.settings
        if settings is not None:
            self._decoder = make_decoder(settings.input_format, HEARING_RATE_HZ)

    async def _started(self, live: LiveSession) -> None:
        try:
            await live.started.wait()
        except BaseException:
            live.end(ErrorCode.PROVIDER_TIMEOUT)
            raise

    # --- the conversation ---

    async def _converse(self, live: LiveSession) -> None:
        receive, feed = self._connection.receive, live.delivery.codec.feed
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
        if self._decoder is None:
            return
        try:
            samples = self._decoder.decode(payload)
        except AudioFormatError as error:
            self._bad_audio += 1
            if self._bad_audio >= self._limits.max_bad_messages:
                live.end(ErrorCode.REQUEST_INVALID, _sentence(error))
            else:
                live.session.outbox.emit(_fault(_sentence(error)))
            return
        self._bad_audio = 0
        live.session.hear(samples)
        seconds = len(samples) / HEARING_RATE_HZ
        self._heard_s += seconds
        if self._heard_s - (time.monotonic() - self._began_at_s) > AHEAD_S:
            await anyio.sleep(seconds / MAX_SPEED)

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
            case Update(settings):
                session.update(session_options(settings, live.identity))
            case ChatStart():
                self._prompt(live, event)
            case VoiceStart() | Resume() | AudioIn():  # the codec refuses a second beginning; audio went its own way
                pass

    def _prompt(self, live: LiveSession, event: ChatStart) -> None:
        if event.agent_id is not None and event.agent_id != live.agent_id:
            fault = _fault("The agent of a session cannot change; begin another session.")
            live.session.outbox.emit(replace(fault, turn_id=event.request_id))
            return
        live.session.prompt(event.prompt, event.request_id)

    # --- refusals ---

    async def _tell(self, failed: Failed) -> None:
        self._host.metrics.observe(failed)
        for frame in self._delivery.frames(failed):
            await self._connection.send(frame)

    async def _refuse(self, failure: Failure) -> None:
        details = dict(failure.details or {})
        if failure.retry_after_s is not None:
            details["retry_after_s"] = failure.retry_after_s
        failed = Failed(failure.code, failure.message, failure.meaning.retryable)
        try:
            await self._tell(replace(failed, details=details or None))
            await self._connection.close(failure.meaning.close_code, failure.message)
        except Disconnected:
            return


def _fault(message: str) -> Failed:
    return Failed(ErrorCode.REQUEST_INVALID, message, ERRORS[ErrorCode.REQUEST_INVALID].retryable)


def _sentence(error: AudioFormatError) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."
