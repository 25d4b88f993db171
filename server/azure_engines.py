"""Azure Speech for this server: the credential, the worker threads of its SDK, and the engines made with them.

What blocks in the SDK runs on threads apart from those of inference, so that a slow service holds up no engine of ours.
Owned by ``server.engine_supply``, one for each account; who stands in for these is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Final, Self

import anyio.to_thread

from audio.azure.credentials import Credential, KeyCredential, managed_identity
from audio.azure.languages import spoken_by
from audio.azure.room import ConnectionRoom
from audio.azure.settings import AzurePlace, AzureSttSettings, AzureTtsSettings, PoolOptions
from audio.breaker import BreakerOptions, CircuitBreaker
from audio.inference import InferencePool
from audio.stt.azure import AzureSpeechToText
from audio.tts.azure import AzureTextToSpeech
from server.azure_settings import AzureSettings

MAX_QUEUED: Final = 512
MOST_KEPT: Final = 32
"""Unused recognizers or voices that wait for their next session."""


class AzureSpeech:
    """One Azure Speech resource. An async context manager: enter it before anything is made with it."""

    def __init__(
        self, settings: AzureSettings, room: ConnectionRoom, workers: int, credential: Credential | None = None
    ) -> None:
        """``room`` bounds connections, together with other resources; ``workers`` are the threads of this one;
        ``credential`` takes the place of the settings'."""
        self._settings = settings
        self._given = credential
        self._room = room
        self._workers = InferencePool(workers, MAX_QUEUED)

    async def __aenter__(self) -> Self:
        await self._workers.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._workers.__aexit__(kind, error, trace)

    async def speech_to_text(self, languages: tuple[str, ...] = ()) -> AzureSpeechToText:
        """An engine, which its caller closes; ``languages`` take the place of the settings'. Raises EngineUnavailable
        without a credential."""
        chosen = self._settings
        settings = AzureSttSettings(
            self._place,
            languages=languages or chosen.languages,
            profanity=chosen.profanity,
            dictation=chosen.dictation,
            custom_endpoint_id=chosen.custom_endpoint_id,
            pool=self._pool,
        )
        return AzureSpeechToText(settings, await self._credential(), self._workers, room=self._room)

    async def text_to_speech(self, voice: str | None = None) -> AzureTextToSpeech:
        """An engine, which its caller closes; ``voice`` takes the place of the settings'. Raises EngineUnavailable
        without a credential."""
        chosen = self._settings
        name = voice or chosen.voice
        settings = AzureTtsSettings(
            self._place,
            replace(chosen.speaker, name=name),
            locales=spoken_by(name),
            visemes=chosen.visemes,
            text_streaming=chosen.text_streaming != "off",
            pool=self._pool,
        )
        return AzureTextToSpeech(settings, await self._credential(), self._workers, room=self._room)

    def breaker(self) -> CircuitBreaker:
        """A new one, for an engine of this resource."""
        chosen = self._settings
        pauses = BreakerOptions(pause_s=chosen.breaker_pause_s, longest_pause_s=chosen.breaker_longest_pause_s)
        return CircuitBreaker(pauses)

    @property
    def _place(self) -> AzurePlace:
        chosen = self._settings
        return AzurePlace(chosen.region, chosen.host, chosen.endpoint, chosen.resource_id)

    @property
    def _pool(self) -> PoolOptions:
        chosen = self._settings
        return PoolOptions(spares=chosen.spares, most=chosen.most, keep=min(MOST_KEPT, chosen.most))

    async def _credential(self) -> Credential:
        chosen = self._settings
        if self._given is not None:
            return self._given
        if chosen.key is not None:
            return KeyCredential(chosen.key.get_secret_value())
        return await anyio.to_thread.run_sync(partial(managed_identity, chosen.resource_id, chosen.client_id))
