"""Speech-to-text with an embedded Whisper: the engine sessions share, and the stream each of them gets.

The engine owns the model and decodes in the inference pool it is given; a stream owns at most one utterance.
Neither has tasks or threads of its own. Built by the composition root, driven by ``agents.core.hearing``.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np

from audio.errors import EngineError, EngineUnavailable
from audio.formats import HEARING_RATE_HZ, PcmChunk
from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority
from audio.stt.port import OnSttFailure, OnTranscript, SttOptions, SttProfile
from audio.stt.whisper_model import PROVIDER, WhisperModel, packaged_model
from audio.stt.whisper_utterance import Recognition, WhisperUtterance

_LOAD_LIMIT_S: Final = 60.0
_WARM_UP_NOISE: Final = 300
_LANGUAGE_TOKEN: Final = re.compile(r"<\|([a-z]{2,3})\|>")
_ENGLISH: Final = frozenset({"en"})
_ENGLISH_END_OF_TEXT: Final = 50_256


class WhisperStream:
    """Recognition of one session's speech, see ``SttStream``."""

    def __init__(self, recognition: Recognition) -> None:
        self._recognition = recognition
        self._utterance: WhisperUtterance | None = None
        self._closed = False

    def begin(self, utterance_id: int, start_sample: int) -> None:
        """See ``SttStream.begin``."""
        self._end_current()
        if not self._closed:
            self._utterance = WhisperUtterance(self._recognition, utterance_id, start_sample)

    def push(self, chunk: PcmChunk) -> None:
        """See ``SttStream.push``. Audio outside an utterance is ignored."""
        if self._utterance is not None:
            self._utterance.push(chunk)

    def flush(self, utterance_id: int, through_sample: int) -> None:
        """See ``SttStream.flush``. A flush of an utterance that is not running fails."""
        if self._closed:
            return
        utterance = self._utterance
        if utterance is not None and utterance.utterance_id == utterance_id:
            utterance.flush(through_sample)
            return
        error = EngineError(f"utterance {utterance_id} is not running", stage="stt", provider=PROVIDER)
        asyncio.get_running_loop().call_soon(self._recognition.on_failure, utterance_id, error)

    def end(self, utterance_id: int) -> None:
        """See ``SttStream.end``."""
        if self._utterance is not None and self._utterance.utterance_id == utterance_id:
            self._end_current()

    async def aclose(self) -> None:
        """See ``SttStream.aclose``: at once; nothing is reported any more."""
        self._closed = True
        self._end_current()

    def _end_current(self) -> None:
        if self._utterance is not None:
            self._utterance.end()
            self._utterance = None


class WhisperSpeechToText:
    """The engine, see ``SpeechToText``."""

    def __init__(self, pool: InferencePool, directory: Path | None = None) -> None:
        """Find the model; loading waits for ``warm_up``.

        Args:
            pool: runs; owned by the caller, who closes it after the engine.
            directory: a CTranslate2 Whisper model (``model.bin``, ``config.json``, ``tokenizer.json``), or ``None``
                for the packaged tiny.en.

        Raises:
            EngineUnavailable: there is no such model.
        """
        self._pool = pool
        self._directory = directory or packaged_model()
        self._model: WhisperModel | None = None
        self._loading = anyio.Lock()
        self._profile = SttProfile(
            provider=PROVIDER,
            model="tiny.en" if directory is None else directory.name,
            locales=_ENGLISH if directory is None else _languages(directory),
        )

    @property
    def profile(self) -> SttProfile:
        """Locales are languages without a region: any region of them is understood."""
        return self._profile

    async def warm_up(self) -> None:
        """Load the model and decode a second of noise. Raises EngineUnavailable."""
        async with self._loading:
            if self._model is not None:
                return
            try:
                self._model = await self._pool.run(self._load, priority=Priority.URGENT, limit_s=_LOAD_LIMIT_S)
            except (PoolBusy, PoolClosed, TimeoutError) as error:
                raise EngineUnavailable(f"Whisper was not loaded: {error}", stage="stt", provider=PROVIDER) from error

    async def open(self, options: SttOptions, on_transcript: OnTranscript, on_failure: OnSttFailure) -> WhisperStream:
        """A stream for one session; loads the model if nobody has.

        Raises:
            EngineUnavailable: the model cannot be loaded, or does not know the locale's language.
        """
        language = options.locale.partition("-")[0].lower()
        if language not in self._profile.locales:
            raise EngineUnavailable(
                f"Whisper {self._profile.model} does not know {options.locale}", stage="stt", provider=PROVIDER
            )
        await self.warm_up()
        model = self._model
        if model is None:
            raise EngineUnavailable("Whisper was closed", stage="stt", provider=PROVIDER)
        decode = functools.partial(model.decode, prompt=model.prompt(language, options.phrases))
        return WhisperStream(
            Recognition(self._pool, decode, on_transcript, on_failure, language, partials=options.partials)
        )

    async def aclose(self) -> None:
        """Let the model go; streams still open keep it until they are closed."""
        self._model = None

    def _load(self) -> WhisperModel:
        model = WhisperModel(self._directory, self._pool.workers)
        noise = np.random.default_rng(0).normal(0, _WARM_UP_NOISE, HEARING_RATE_HZ).astype(np.int16)
        try:
            model.decode(noise, model.prompt("en"))
        except Exception as error:
            raise EngineUnavailable(f"Whisper cannot decode: {error}", stage="stt", provider=PROVIDER) from error
        return model


def _languages(directory: Path) -> frozenset[str]:
    """The language codes a model understands, read from its vocabulary.

    English-only models carry the other languages' tokens too; their end-of-text token is one lower.
    """
    try:
        tokenizer: dict[str, Any] = json.loads((directory / "tokenizer.json").read_text())
        tokens: dict[str, int] = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
        if tokens["<|endoftext|>"] == _ENGLISH_END_OF_TEXT:
            return _ENGLISH
    except (OSError, ValueError, KeyError) as error:
        raise EngineUnavailable(f"no Whisper model in {directory}: {error}", stage="stt", provider=PROVIDER) from error
    return frozenset(match[1] for token in tokens if (match := _LANGUAGE_TOKEN.fullmatch(token)))
