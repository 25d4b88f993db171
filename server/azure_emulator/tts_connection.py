"""One synthesis connection: messages in, engine, messages out.

A reader takes what the client sends; a speaker, in a task of its own, works on one turn after the other, so that text
goes on arriving while audio leaves. Driven by ``service``.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from audio.errors import EngineError
from audio.tts.port import TextToSpeech
from server.azure_emulator.faults import Outgoing
from server.azure_emulator.frames import FrameError, decode
from server.azure_emulator.link import Link, LinkClosed
from server.azure_emulator.speaking import Speaking
from server.azure_emulator.ssml import Part
from server.azure_emulator.tts_session import Begin, End, Speak, TtsCommand, TtsSession, Utterance

MAX_QUEUED: Final = 2_000
_TEXT_PATHS: Final = frozenset({"ssml", "text.piece"})


class TtsConnection:
    """See the module. ``run`` once."""

    def __init__(self, link: Link, session: TtsSession, tts: TextToSpeech) -> None:
        self._link = link
        self._session = session
        self._tts = tts
        self._queue, self._queued = anyio.create_memory_object_stream[TtsCommand](MAX_QUEUED)

    async def run(self) -> None:
        """Until the connection ends, whoever ends it."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._speak_all, self._queued)
                await self._read()
        except* LinkClosed:
            pass
        finally:
            self._queue.close()
            self._queued.close()

    async def _read(self) -> None:
        record = self._link.record
        while True:
            frame = await self._link.receive()
            try:
                message = decode(frame)
                record.received[message.path] += 1
                commands = self._session.feed(frame)
                if message.path in _TEXT_PATHS:
                    record.texts.append(message.text)
            except FrameError as error:
                await self._link.close(1007, str(error)[:120])
                return
            if message.path == "speech.config":
                record.config = self._session.config
            elif message.path == "synthesis.context":
                record.contexts.append(self._session.context)
            for command in commands:
                await self._queue.send(command)

    async def _speak_all(self, queued: MemoryObjectReceiveStream[TtsCommand]) -> None:
        speaking: Speaking | None = None
        utterance: Utterance | None = None
        async for command in queued:
            match command:
                case Begin(utterance):
                    self._link.record.turns += 1
                    await self._link.at("request")
                    speaking = Speaking(self._tts, utterance)
                    await self._send(utterance.opening())
                case Speak(parts):
                    if speaking is not None:
                        for part in parts:
                            await self._say(speaking, part)
                case End():
                    if speaking is not None and utterance is not None:
                        await self._send([*speaking.finish(), utterance.closing()])
                    speaking = utterance = None

    async def _say(self, speaking: Speaking, part: Part) -> None:
        try:
            async with aclosing(speaking.say(part)) as messages:
                async for message in messages:
                    await self._link.send(message)
        except EngineError as error:
            await self._link.close(1011, str(error)[:120])

    async def _send(self, messages: list[Outgoing] | tuple[Outgoing, ...]) -> None:
        for message in messages:
            await self._link.send(message)
