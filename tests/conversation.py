"""A whole session in virtual time: a scripted user, scripted engines, a client that plays what it is sent.

The user's speech is a level the detector below understands, so a test writes ``await talk.speak(800)`` and reads what
the client saw. Nothing here sleeps in real time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from virtual_time import run_virtual

from agents.core.draft_allowance import DraftAllowance
from agents.core.options import Engines, Identity, SessionOptions
from agents.core.policy import TurnPolicy
from agents.core.session import Session
from agents.core.sound_meter import ticks
from agents.errors import SessionClosed
from agents.events import AudioOut, ServerEvent
from agents.loop.agent import Agent, AgentSpec
from agents.models.port import LanguageModel
from agents.models.scripted import ScriptedModel
from audio.errors import EngineError
from audio.formats import PcmChunk, samples_to_ms
from audio.stt.port import SpeechToText
from audio.stt.scripted import Misheard, ScriptedSpeechToText
from audio.tts.port import TextToSpeech
from audio.tts.scripted import ScriptedTextToSpeech, ScriptedVoice
from audio.vad.port import EdgeKind, SpeechEdge, VadOptions
from metering.memory import MemoryRecorder

FRAME = 320
E = TypeVar("E")


class LevelDetector:
    """Speech is what is loud: the port's rules without a model."""

    def __init__(self, options: VadOptions) -> None:
        self._options = options
        self._speaking = self._loud = False
        self._since = 0

    @property
    def undecided(self) -> bool:
        return self._loud != self._speaking

    def process(self, chunk: PcmChunk) -> Sequence[SpeechEdge]:
        loud = bool(np.abs(chunk.samples).max(initial=0) > 1_000)
        self._loud = loud
        if loud == self._speaking:
            self._since = chunk.end_sample
            return ()
        needed_ms = self._options.min_speech_ms if loud else self._options.min_silence_ms
        if chunk.end_sample - self._since < needed_ms * 16:
            return ()
        self._speaking = loud
        kind = EdgeKind.STARTED if loud else EdgeKind.STOPPED
        edge = SpeechEdge(kind, self._since, chunk.end_sample)
        self._since = chunk.end_sample
        return (edge,)

    def update(self, options: VadOptions) -> None:
        self._options = options

    def reset(self) -> None:
        self._speaking = False


@dataclass
class Script:
    """Who says what, and how the engines behave."""

    hears: Sequence[str | EngineError | Misheard] = ("What time is it?",)
    replies: Sequence[Any] = ("It is ten past four in the afternoon.",)
    policy: TurnPolicy = field(default_factory=lambda: TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900))
    speak: bool = True
    greeting: str | None = None
    partial_every_ms: int | None = None
    before_event: Callable[[int], Any] | None = None
    before_chunk: Callable[[Any, int], Any] | None = None
    tools: tuple[Any, ...] = ()
    detector: Callable[[VadOptions], Any] | None = LevelDetector
    tts: bool = True
    voice: TextToSpeech | None = None
    """Who speaks, where it is not the scripted voice that is given phrases."""
    model: type[ScriptedModel] = ScriptedModel
    ears: Callable[[SpeechToText], SpeechToText] | None = None
    mind: Callable[[LanguageModel], LanguageModel] | None = None
    """What is put around the scripted recognition and the scripted model."""
    drafts: DraftAllowance | None = None
    means: Callable[[Engines], Engines] | None = None
    """What is put into the engines: what the session may spend, and the cheapest of them."""
    options: dict[str, Any] = field(default_factory=dict)
    """What else is different from a session's defaults."""


class Talk:
    """A running conversation, from the user's side."""

    def __init__(
        self, session: Session, options: SessionOptions, model: ScriptedModel, recorder: MemoryRecorder
    ) -> None:
        self.session = session
        self.options = options
        self.model = model
        self.recorder = recorder
        self.events: list[tuple[float, ServerEvent]] = []
        self.takes = asyncio.Event()
        """Cleared, the client takes nothing: its network stalls."""
        self.takes.set()
        self._loop = asyncio.get_running_loop()

    # --- the user ---

    async def speak(self, ms: int) -> None:
        """Speak for ``ms``, in real (virtual) time."""
        await self._send(ms, 8_000)

    async def quiet(self, ms: int) -> None:
        """Send silence for ``ms``."""
        await self._send(ms, 0)

    async def mute(self, ms: int) -> None:
        """Send nothing for ``ms``."""
        await asyncio.sleep(ms / 1_000)

    async def until(self, kind: type[ServerEvent], limit_ms: int = 30_000, count: int = 1) -> None:
        """Stay quiet until ``count`` events of a kind came."""
        waited = 0
        while len(self.all(kind)) < count:
            assert waited < limit_ms, f"no {kind.__name__} within {limit_ms} ms; saw {self.kinds()}"
            await self.quiet(20)
            waited += 20

    async def _send(self, ms: int, level: int) -> None:
        for _ in range(ms // 20):
            self.session.hear(np.full(FRAME, level, np.int16))
            await asyncio.sleep(0.02)

    # --- what came back ---

    def all(self, kind: type[E]) -> list[E]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        found = self.all(kind)
        assert len(found) == 1, f"{len(found)} {kind.__name__}: {self.kinds()}"
        return found[0]

    def when_ms(self, kind: type[ServerEvent], number: int = 0) -> float:
        return [at for at, event in self.events if isinstance(event, kind)][number] * 1_000

    def kinds(self) -> list[str]:
        names = [type(event).__name__ for _, event in self.events]
        return [name for at, name in enumerate(names) if at == 0 or name != names[at - 1]]

    def audio_ms(self, turn_id: str) -> int:
        """Audio received for a turn."""
        return sum(
            samples_to_ms(len(event.samples), event.sample_rate_hz)
            for event in self.all(AudioOut)
            if event.turn_id == turn_id
        )

    async def collect(self) -> None:
        """Take events as a transport does."""
        try:
            while True:
                await self.takes.wait()
                event = await self.session.outbox.get()
                self.events.append((self._loop.time(), event))
                if isinstance(event, AudioOut):
                    self.session.sound.sent(ticks(len(event.samples), event.sample_rate_hz))
        except SessionClosed:
            return


def dialogue(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run the test's conversation in virtual time."""

    @wraps(test)
    def run() -> None:
        run_virtual(test())

    del run.__wrapped__  # else pytest runs the coroutine itself
    return run


@asynccontextmanager
async def conversation(script: Script | None = None) -> AsyncIterator[Talk]:
    """A session that runs while the body talks to it, and is closed and accounted for afterwards."""
    script = script or Script()
    model = script.model(*script.replies, repeat=True, before_event=script.before_event)
    spec = AgentSpec(agent_id="test", name="Test", instructions="Answer.", greeting=script.greeting, tools=script.tools)
    stt = ScriptedSpeechToText(script.hears, partial_every_ms=script.partial_every_ms)
    engines = Engines(
        Agent(spec, model if script.mind is None else script.mind(model)),
        stt if script.ears is None else script.ears(stt),
        (script.voice or ScriptedTextToSpeech(ScriptedVoice(), script.before_chunk)) if script.tts else None,
        None,
        script.detector,
        drafts=script.drafts,
    )
    engines = engines if script.means is None else script.means(engines)
    recorder = MemoryRecorder()
    options = replace(SessionOptions(Identity("session-1"), policy=script.policy, speak=script.speak), **script.options)
    loop = asyncio.get_running_loop()
    session = Session(options, engines, recorder, lambda: 1_700_000_000_000 + round(loop.time() * 1_000))
    talk = Talk(session, options, model, recorder)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(session.run())
        tasks.create_task(talk.collect())
        await asyncio.sleep(0)
        try:
            yield talk
        finally:
            session.close()
