"""Where engines for hearing and speaking come from: built once each, made ready once, shared by all sessions.

Two suppliers: the embedded engines, and those on one Azure Speech account. What they supply is an engine with its
breaker, so that one supplier's faults are nobody else's. Whoever asks decides the order (``server.speech_engines``).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from audio.azure.room import ConnectionRoom
from audio.breaker import CircuitBreaker
from audio.errors import EngineError, EngineKeyRejected, EngineTimeout, EngineUnavailable, Stage
from audio.fallback import Guarded, Warmable
from audio.inference import InferencePool
from audio.stt.port import SpeechToText
from audio.tts.port import TextToSpeech
from server.azure_engines import AzureSpeech
from server.engine_rules import SttChoice, TtsChoice
from server.speech_accounts import SpeechAccount
from server.speech_settings import SttSettings, TtsSettings

SpeechEngine = TypeVar("SpeechEngine", SpeechToText, TextToSpeech)
Key = TypeVar("Key")


class Supplier(Protocol):
    """Where engines come from. Both raise EngineUnavailable where there is none to be had."""

    async def stt(self, choice: SttChoice) -> Guarded[SpeechToText]: ...

    async def tts(self, choice: TtsChoice) -> Guarded[TextToSpeech]: ...


class _Loaded(Generic[SpeechEngine]):
    """An engine that is loaded when first asked for; that it cannot be had is remembered."""

    def __init__(self, load: Callable[[], Awaitable[Guarded[SpeechEngine]]]) -> None:
        self._load = load
        self._loading = anyio.Lock()
        self._outcome: Guarded[SpeechEngine] | EngineUnavailable | None = None

    async def get(self) -> Guarded[SpeechEngine]:
        """The engine. Raises EngineUnavailable."""
        async with self._loading:
            if self._outcome is None:
                try:
                    self._outcome = await self._load()
                except EngineUnavailable as error:
                    self._outcome = error
        if isinstance(self._outcome, EngineUnavailable):
            raise self._outcome
        return self._outcome

    async def aclose(self) -> None:
        """Release it, if it was loaded."""
        if isinstance(self._outcome, Guarded):
            await self._outcome.engine.aclose()


class EmbeddedSupply:
    """Whisper and Piper, each loaded when first asked for."""

    def __init__(self, pool: InferencePool, stt: SttSettings, tts: TtsSettings) -> None:
        """``pool`` is owned by the caller, who closes it afterwards."""
        self._pool = pool
        self._stt_settings = stt
        self._tts_settings = tts
        self._stt: _Loaded[SpeechToText] = _Loaded(self._load_stt)
        self._tts: _Loaded[TextToSpeech] = _Loaded(self._load_tts)

    async def stt(self, choice: SttChoice) -> Guarded[SpeechToText]:
        """Whisper, whatever the choice. Raises EngineUnavailable."""
        del choice
        return await self._stt.get()

    async def tts(self, choice: TtsChoice) -> Guarded[TextToSpeech]:
        """Piper, whatever the choice. Raises EngineUnavailable."""
        del choice
        return await self._tts.get()

    async def aclose(self) -> None:
        """Release what was loaded."""
        await self._tts.aclose()
        await self._stt.aclose()

    async def _load_stt(self) -> Guarded[SpeechToText]:
        from audio.stt.whisper import WhisperSpeechToText  # noqa: PLC0415 - only what is asked for is imported

        engine = WhisperSpeechToText(self._pool, self._stt_settings.model_path)
        await engine.warm_up()
        return Guarded(engine)

    async def _load_tts(self) -> Guarded[TextToSpeech]:
        from audio.tts.phonemizer.find import find_phonemizer  # noqa: PLC0415
        from audio.tts.piper import PiperTextToSpeech  # noqa: PLC0415
        from audio.tts.voice import find_voice  # noqa: PLC0415

        voice = await anyio.to_thread.run_sync(find_voice, self._tts_settings.voice_path)
        engine = PiperTextToSpeech(self._pool, voice, find_phonemizer())
        try:
            await engine.warm_up()
        except EngineUnavailable:
            await engine.aclose()
            raise
        return Guarded(engine)


class AccountSupply:
    """The engines on one Azure Speech account: one for each voice and each set of languages that the rules name.

    Counts its ``users``, for whoever decides when it is released.
    """

    def __init__(self, account: SpeechAccount, room: ConnectionRoom, workers: int, ready_limit_s: float) -> None:
        """``room`` is shared by all accounts; ``workers`` are this account's threads for what blocks in the SDK.

        ``ready_limit_s`` is how long an engine's first session waits for it to be ready; then it goes on without.
        """
        self.account = account
        self.users = 0
        self.idle_since_s = 0.0
        self._speech = AzureSpeech(account.azure, room, workers, account.credential)
        self._ready_limit_s = ready_limit_s
        self._stt: dict[tuple[str, ...], Guarded[SpeechToText]] = {}
        self._tts: dict[str | None, Guarded[TextToSpeech]] = {}
        self._readying: dict[CircuitBreaker, anyio.Lock] = {}
        self._ready: set[CircuitBreaker] = set()
        self._making = anyio.Lock()
        self._closing = AsyncExitStack()
        self._opened = False

    @property
    def is_ready(self) -> bool:
        """Whether any of its engines has been tried."""
        return bool(self._ready)

    @property
    def is_rejected(self) -> bool:
        """Whether the service refuses the account's credential."""
        errors = (each.breaker.last_error for each in (*self._stt.values(), *self._tts.values()))
        return any(isinstance(error, EngineKeyRejected) for error in errors)

    async def stt(self, choice: SttChoice) -> Guarded[SpeechToText]:
        """Azure's recognition with the choice's languages. Raises EngineUnavailable without a credential."""
        return await self._one("stt", self._stt, choice.languages, self._speech.speech_to_text)

    async def tts(self, choice: TtsChoice) -> Guarded[TextToSpeech]:
        """Azure's speech with the choice's voice. Raises EngineUnavailable without a credential."""
        return await self._one("tts", self._tts, choice.voice, self._speech.text_to_speech)

    async def aclose(self) -> None:
        """Close every connection and end the threads."""
        for stt in self._stt.values():
            await stt.engine.aclose()
        for tts in self._tts.values():
            await tts.engine.aclose()
        await self._closing.aclose()

    async def _one(
        self,
        stage: Stage,
        made: dict[Key, Guarded[SpeechEngine]],
        key: Key,
        make: Callable[[Key], Awaitable[SpeechEngine]],
    ) -> Guarded[SpeechEngine]:
        """The engine for this key, made ready."""
        async with self._making:
            await self._open()
            found = made.get(key)
            if found is None:
                found = made[key] = Guarded(await make(key), self._speech.breaker())
        await self._make_ready(stage, found.engine, found.breaker)
        return found

    async def _open(self) -> None:
        if not self._opened:
            await self._closing.enter_async_context(self._speech)
            self._opened = True

    async def _make_ready(self, stage: Stage, engine: Warmable, breaker: CircuitBreaker) -> None:
        """Once; who comes meanwhile waits for the same. What fails is known to the engine's breaker afterwards."""
        async with self._readying.setdefault(breaker, anyio.Lock()):
            if breaker in self._ready:
                return
            try:
                with anyio.fail_after(self._ready_limit_s):
                    await engine.warm_up()
            except EngineError as error:
                breaker.failed(error, time.monotonic())
            except TimeoutError:
                late = EngineTimeout(f"not ready within {self._ready_limit_s:g} s", stage=stage, provider="azure")
                breaker.failed(late, time.monotonic())
            self._ready.add(breaker)
