"""Text-to-speech with Azure Speech: the engine sessions share.

Owns the pools of connected synthesizers: a phrase takes one and gives it back once spoken. Speech that is cut short
(barge-in) leaves its synthesizer to be stopped and released in the background, for stopping closes its socket, and the
next phrase takes a spare. Has no tasks or threads of its own. Driven by ``agents.core.speaking``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Final

from audio.azure.credentials import PROVIDER, Credential
from audio.azure.errors import overloaded, said_by_sdk, timed_out, unavailable
from audio.azure.pool import WarmPool
from audio.azure.room import ConnectionRoom
from audio.azure.sdk import load_sdk
from audio.azure.settings import AzurePlace, AzureTtsSettings
from audio.errors import EngineError, EngineUnavailable
from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority
from audio.tts.azure_speech import Speech
from audio.tts.azure_ssml import ssml, voice_name
from audio.tts.azure_stream import AzureTextStream, StreamPorts
from audio.tts.azure_synthesizer import RATE_HZ, AzureSynthesizer, StreamedVoice
from audio.tts.port import SpeechAudio, SpeechRequest, TtsProfile
from audio.tts.text import speakable_parts

_WARM_UP_LIMIT_S: Final = 10.0
_CALL_LIMIT_S: Final = 3.0
_MOST_STREAM_POOLS: Final = 8


class AzureTextToSpeech:
    """The engine, see ``TextToSpeech`` and ``TextStreamingSpeech``. One per credential, as for recognition."""

    def __init__(
        self,
        settings: AzureTtsSettings,
        credential: Credential,
        workers: InferencePool,
        now_s: Callable[[], float] = time.monotonic,
        room: ConnectionRoom | None = None,
    ) -> None:
        """``workers`` run what blocks in the SDK; owned by the caller, who closes them after the engine. ``room``
        bounds the connections of several engines together."""
        self._settings = settings
        self._credential = credential
        self._workers = workers
        self._now_s = now_s
        self._room = room
        self._pool: WarmPool[AzureSynthesizer] | None = None
        self._stream_pools: dict[str, WarmPool[AzureSynthesizer]] = {}
        self._running: set[Speech] = set()
        self._streams: dict[Speech, AzureTextStream] = {}
        self._closed = False

    @property
    def profile(self) -> TtsProfile:
        name = self._settings.voice.name
        return TtsProfile(
            provider=PROVIDER,
            model=name,
            sample_rate_hz=RATE_HZ,
            voices=(name,),
            locales=self._settings.locales,
            streaming=True,
            word_timings=True,
            visemes=self._settings.visemes,
            text_streaming=self._settings.streams_text,
            text_held=True,
        )

    @property
    def pools(self) -> tuple[WarmPool[AzureSynthesizer], ...]:
        """For metrics."""
        return (*([] if self._pool is None else [self._pool]), *self._stream_pools.values())

    async def warm_up(self) -> None:
        """Have spare synthesizers connected and say a word unheard. Raises EngineUnavailable."""
        try:
            await self._workers.run(partial(load_sdk, "tts"), priority=Priority.URGENT, limit_s=_WARM_UP_LIMIT_S)
        except (PoolBusy, PoolClosed, TimeoutError) as error:
            raise unavailable(f"the SDK was not loaded ({error})", "tts") from error
        try:
            async with aclosing(self.speak(SpeechRequest("Ready.", self._locale))) as audio:
                async for _ in audio:
                    pass
            if self._settings.streams_text:
                self._stream_pool(self._settings.voice.name).fill()
        except EngineUnavailable:
            raise
        except EngineError as error:
            raise EngineUnavailable(str(error), stage="tts", provider=PROVIDER) from error

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        """See the port. A socket that turns out dead before it gave any sound is replaced once, unnoticed."""
        settings = self._settings
        name = voice_name(request.voice, settings.voice.name)
        spoken = 0
        for text in speakable_parts(request.text, settings.limits.part_characters):
            document = ssml(text, request.locale, name, request.rate, settings.voice)
            for last_try in (False, True):
                self._check_open()
                speech = Speech(settings.limits, spoken)
                try:
                    async with aclosing(self._spoken(document, speech)) as chunks:
                        async for chunk in chunks:
                            self._check_open()
                            yield chunk
                    break
                except EngineUnavailable:
                    raise
                except EngineError:
                    if last_try or speech.samples:
                        raise
            spoken += speech.samples

    async def open_text(self, request: SpeechRequest) -> AzureTextStream:
        """See the port: text piece by piece, spoken before the sentence is complete. No SSML, so no style by degree,
        no role and no pauses."""
        self._check_open()
        voice, limits = self._settings.voice, self._settings.limits
        name = voice_name(request.voice, voice.name)
        pool = self._stream_pool(name)
        synthesizer = await self._acquire(pool)
        speech = Speech(limits)
        self._running.add(speech)
        synthesizer.connect(speech.hear)

        def settled(*, spoken: bool) -> None:
            self._settled(pool, synthesizer, speech, spoken=spoken)

        ports = StreamPorts(synthesizer, speech, self._call, settled)
        stream = self._streams[speech] = AzureTextStream(ports, limits)
        how = StreamedVoice(request.locale, request.rate, voice.pitch, voice.volume, voice.style, voice.lexicon_uri)
        try:
            await self._call(partial(synthesizer.begin_stream, how))
            if request.text:
                await stream.write(request.text)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def aclose(self) -> None:
        """Release all synthesizers. Running speech ends with EngineUnavailable."""
        self._closed = True
        for speech in tuple(self._running):
            speech.fail(unavailable("the engine is closed", "tts"))
        for stream in tuple(self._streams.values()):
            await stream.aclose()
        for pool in self.pools:
            await pool.aclose()

    # --- speaking ---

    async def _spoken(self, document: str, speech: Speech) -> AsyncGenerator[SpeechAudio]:
        pool = self._phrase_pool()
        synthesizer = await self._acquire(pool)
        self._running.add(speech)
        try:
            synthesizer.connect(speech.hear)
            await self._call(partial(synthesizer.speak, document))
            async with aclosing(speech.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._settled(pool, synthesizer, speech, spoken=speech.completed)

    async def _acquire(self, pool: WarmPool[AzureSynthesizer]) -> AzureSynthesizer:
        limit_s = self._settings.limits.connect_s
        try:
            async with asyncio.timeout(limit_s):
                return await pool.acquire()
        except TimeoutError as error:
            raise timed_out("no synthesizer", limit_s, "tts") from error

    async def _call(self, blocking: Callable[[], None]) -> None:
        try:
            await self._workers.run(blocking, priority=Priority.URGENT, limit_s=_CALL_LIMIT_S)
        except (PoolBusy, PoolClosed) as error:
            raise overloaded(f"no thread to speak with ({error})", "tts") from error
        except TimeoutError as error:
            raise timed_out("the SDK did not return", _CALL_LIMIT_S, "tts") from error
        except RuntimeError as error:
            raise EngineError(f"Azure Speech: {said_by_sdk(error)}", stage="tts", provider=PROVIDER) from error

    def _settled(
        self, pool: WarmPool[AzureSynthesizer], synthesizer: AzureSynthesizer, speech: Speech, *, spoken: bool
    ) -> None:
        """The synthesizer is free: spoken to the end it is as good as new, otherwise it is not to be used again."""
        self._running.discard(speech)
        self._streams.pop(speech, None)
        synthesizer.connect(None)
        if not spoken or self._closed:
            pool.discard(synthesizer)
            return
        try:
            rested = self._workers.submit(synthesizer.rest, priority=Priority.NORMAL, limit_s=_CALL_LIMIT_S)
        except (PoolBusy, PoolClosed):
            pool.discard(synthesizer)
            return

        def give_back(done: asyncio.Future[None]) -> None:
            if done.cancelled() or done.exception() is not None:
                pool.discard(synthesizer)
            else:
                pool.give_back(synthesizer)

        rested.add_done_callback(give_back)

    def _check_open(self) -> None:
        if self._closed:
            raise unavailable("the engine is closed", "tts")

    # --- pools ---

    @property
    def _locale(self) -> str:
        return "-".join(self._settings.voice.name.split("-")[:2])

    def _phrase_pool(self) -> WarmPool[AzureSynthesizer]:
        self._check_open()
        if self._pool is None:
            self._pool = self._new_pool(self._settings.place, self._settings.voice.name)
        return self._pool

    def _stream_pool(self, voice: str) -> WarmPool[AzureSynthesizer]:
        pool = self._stream_pools.get(voice)
        if pool is None:
            if len(self._stream_pools) >= _MOST_STREAM_POOLS:
                raise overloaded(f"{_MOST_STREAM_POOLS} voices are in use", "tts")
            place = AzurePlace(
                endpoint=self._settings.place.text_stream_endpoint, resource_id=self._settings.place.resource_id
            )
            pool = self._stream_pools[voice] = self._new_pool(place, voice)
        return pool

    def _new_pool(self, place: AzurePlace, voice: str) -> WarmPool[AzureSynthesizer]:
        loop = asyncio.get_running_loop()
        make = partial(AzureSynthesizer, self._settings, place, self._credential, voice, loop)
        return WarmPool(make, self._workers, self._settings.pool, "tts", self._now_s, self._room)
