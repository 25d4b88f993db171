"""One recognition connection: messages in, engine, messages out.

Owns the turn's ``Hearing`` and the way out: a bounded queue with one writer, so that results keep their order and a
fault may wait. Driven by ``service``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from audio.errors import EngineError
from audio.vad.port import VadOptions
from server.azure_emulator.engines import EmulatorEngines
from server.azure_emulator.faults import Outgoing
from server.azure_emulator.frames import FrameError, decode
from server.azure_emulator.hearing import Hearing
from server.azure_emulator.link import Link, LinkClosed
from server.azure_emulator.stt_request import SttRequest
from server.azure_emulator.stt_session import (
    BeginTurn,
    EndOfAudio,
    EndTurn,
    Hear,
    SttCommand,
    SttResult,
    SttSession,
)

MAX_QUEUED: Final = 2_000
MAX_REMEMBERED_TURNS: Final = 1_000


class TurnMemory:
    """How many phrases the turns of a conversation had, so that a turn that continues one goes on in the script."""

    def __init__(self) -> None:
        self._phrases: OrderedDict[str, int] = OrderedDict()

    def begin(self, tag: str, previous: str | None) -> int:
        """A turn begins; how many phrases were before it."""
        before = self._phrases.get(previous, 0) if previous else 0
        self._phrases[tag] = before
        while len(self._phrases) > MAX_REMEMBERED_TURNS:
            self._phrases.popitem(last=False)
        return before

    def add(self, tag: str) -> None:
        """The client got one more phrase of this turn."""
        if tag in self._phrases:
            self._phrases[tag] += 1


class SttConnection:
    """See the module. ``run`` once."""

    def __init__(self, link: Link, session: SttSession, engines: EmulatorEngines, memory: TurnMemory) -> None:
        self._link = link
        self._session = session
        self._engines = engines
        self._memory = memory
        self._hearing: Hearing | None = None
        self._stopped: list[Hearing] = []
        self._tag = ""
        self._audio_seen = False
        self._queue, self._queued = anyio.create_memory_object_stream[tuple[Outgoing, str]](MAX_QUEUED)

    async def run(self) -> None:
        """Until the connection ends, whoever ends it."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, self._queued)
                await self._read()
        except* LinkClosed:
            pass
        finally:
            with anyio.CancelScope(shield=True):
                await self._let_go()

    async def _read(self) -> None:
        while True:
            frame = await self._link.receive()
            try:
                path = decode(frame).path
                self._link.record.received[path] += 1
                commands = self._session.feed(frame)
            except FrameError as error:
                await self._link.close(1007, str(error)[:120])
                return
            await self._note(path)
            for command in commands:
                await self._do(command)

    async def _note(self, path: str) -> None:
        """What tests may ask about, and the points of what comes in."""
        if path == "speech.config":
            self._link.record.config = self._session.config
        elif path == "speech.context":
            self._link.record.contexts.append(self._session.context)
            await self._link.at("request")
        elif path == "audio":
            await self._link.at("audio_in")

    async def _do(self, command: SttCommand) -> None:
        match command:
            case BeginTurn(request, tag):
                await self._begin(request, tag)
            case Hear(samples):
                if self._hearing is not None:
                    self._hearing.push(samples)
            case EndOfAudio():
                if self._hearing is not None:
                    self._hearing.finish()
            case EndTurn():
                self._end_turn()
            case Outgoing():
                self._put(command)
        await self._let_stopped_go()

    async def _begin(self, request: SttRequest, tag: str) -> None:
        self._end_turn()
        self._tag = tag
        self._link.record.turns += 1
        detector = self._engines.make_detector(
            VadOptions(min_speech_ms=self._engines.min_speech_ms, min_silence_ms=request.segmentation_ms)
        )
        hearing = Hearing(request, detector, self._on_result)
        try:
            await hearing.open(self._engines.stt(self._memory.begin(tag, request.previous_tag)))
        except EngineError as error:
            await self._link.close(1007, str(error)[:120])
        self._hearing = hearing

    def _on_result(self, result: SttResult) -> None:
        for command in self._session.encode(result):
            if isinstance(command, Outgoing):
                self._put(command)
            elif isinstance(command, EndTurn):
                self._end_turn()

    def _put(self, outgoing: Outgoing) -> None:
        try:
            self._queue.send_nowait((outgoing, self._tag))
        except (anyio.WouldBlock, anyio.BrokenResourceError):
            self._end_turn()  # a client that does not read, or is gone

    def _end_turn(self) -> None:
        if self._hearing is not None:
            self._hearing.stop()
            self._stopped.append(self._hearing)
            self._hearing = None

    async def _let_stopped_go(self) -> None:
        while self._stopped:
            await self._stopped.pop().aclose()

    async def _let_go(self) -> None:
        self._end_turn()
        await self._let_stopped_go()
        self._queue.close()
        self._queued.close()

    async def _write(self, queued: MemoryObjectReceiveStream[tuple[Outgoing, str]]) -> None:
        async for outgoing, tag in queued:
            if await self._link.send(outgoing) and outgoing.point == "phrase":
                self._link.record.phrases += 1
                self._memory.add(tag)
