"""The embedded speaking engine: a Piper voice on onnxruntime.

Owns the loaded voice and its phonemizer; shares the inference pool, where each piece of a phrase is a job of its own,
so a turn's first phrase overtakes and cancelled speech costs at most the piece being made. Knows nothing of turns or
transports. Driven by the turn run (``speak``) and the composition root (``warm_up``, ``aclose``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import anyio
import numpy as np

from audio.errors import EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable
from audio.formats import Samples, ms_to_samples
from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority
from audio.tts.phonemizer.port import Phonemizer
from audio.tts.port import SpeechAudio, SpeechRequest, TtsProfile
from audio.tts.shaping import PauseShaper, to_samples
from audio.tts.text import phoneme_parts, speakable_parts
from audio.tts.vits import Sound, Utterance, VitsModel, VoiceModelError, load_vits
from audio.tts.voice import Voice

_PROVIDER: Final = "piper"
_PART_CHARACTERS: Final = 400
_PART_PHONEMES: Final = 240
_PROBE_PHONEMES: Final = "həlˈoʊ ðˈɛɹ."
_SILENCE_THRESHOLD: Final = 130
"""int16. The voice's silence stays near 20, the faintest onset (an "h") passes 200 within one frame."""
_PAUSES_MS: Final = {".": 240, "!": 240, "?": 260, ";": 180, ":": 180, ",": 120}
_NO_PUNCTUATION_PAUSE_MS: Final = 40
_LENGTH_SCALES: Final = ((0.5, 2.35), (0.57, 2.0), (0.73, 1.5), (0.87, 1.25), (1.0, 1.0), (1.12, 0.8), (1.27, 0.7),
                         (1.44, 0.6), (1.53, 0.5), (1.77, 0.35), (1.85, 0.25), (2.0, 0.05))  # fmt: skip
"""Rate of speech -> VITS length scale, measured on the packaged voice (+-5 %). Not its inverse: the model rounds each
phoneme up to whole frames, so a scale of 0.5 speaks only 1.5 times as fast."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PiperOptions:
    """How the voice sounds and how long it may take.

    ``gain`` lifts the model's level (about -25 dBFS) before a soft limit; ``lead_ms`` of the silence before a sentence
    are kept; ``load_limit_s`` and ``piece_limit_s`` bound loading and making one piece of audio, waiting included.
    """

    gain: float = 1.5
    lead_ms: int = 10
    load_limit_s: float = 30.0
    piece_limit_s: float = 5.0


class PiperTextToSpeech:
    """``TextToSpeech`` with a ``Voice``. Closes ``phonemizer`` with itself; the pool is not its own.

    Loads on ``warm_up`` or the first ``speak``. Audio is at the voice's own rate (22.05 kHz for the packaged one).
    """

    def __init__(
        self, pool: InferencePool, voice: Voice, phonemizer: Phonemizer, options: PiperOptions | None = None
    ) -> None:
        self._pool = pool
        self._voice = voice
        self._phonemizer = phonemizer
        self._options = options or PiperOptions()
        self._loading = anyio.Lock()
        self._model: VitsModel | None = None
        self._closed = False

    @property
    def profile(self) -> TtsProfile:
        voice = self._voice
        return TtsProfile(
            provider=_PROVIDER,
            model=voice.name,
            sample_rate_hz=voice.sample_rate_hz,
            voices=tuple(voice.speakers) or (voice.name,),
            locales=frozenset({voice.locale}),
            streaming=True,
        )

    async def warm_up(self) -> None:
        """Load the voice, start the phonemizer, speak a word unheard. Raises EngineUnavailable."""
        try:
            async for _ in self.speak(SpeechRequest("Ready.")):
                pass
        except EngineUnavailable:
            raise
        except EngineError as error:
            raise _unavailable(f"the voice does not speak: {error}") from error

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        """See the port. Long text is phonemized and spoken part by part, as the audio is taken."""
        model = await self._loaded()
        priority = Priority.URGENT if request.urgent else Priority.NORMAL
        for text in speakable_parts(request.text, _PART_CHARACTERS):
            for sentence in await self._phonemizer.phonemes(text, self._voice.espeak_voice):
                for phonemes in phoneme_parts(sentence, _PART_PHONEMES):
                    step = self._steps(model, phonemes, request)
                    is_last = False
                    while not is_last:
                        self._check_open()
                        samples, is_last = await self._run(step, priority, self._options.piece_limit_s)
                        if len(samples):
                            yield SpeechAudio(samples, self._voice.sample_rate_hz)

    async def aclose(self) -> None:
        """Drop the voice and end the phonemizer. Running speech ends with EngineUnavailable at its next piece."""
        self._closed = True
        self._model = None
        await self._phonemizer.aclose()

    async def _loaded(self) -> VitsModel:
        async with self._loading:
            self._check_open()
            if self._model is None:
                probe = self._utterance(_PROBE_PHONEMES, SpeechRequest(""))
                load = partial(load_vits, self._voice.path, probe)
                self._model = await self._run(load, Priority.NORMAL, self._options.load_limit_s)
            return self._model

    def _check_open(self) -> None:
        if self._closed:
            raise _unavailable("the engine is closed")

    async def _run(self, job: Callable[[], T], priority: Priority, limit_s: float) -> T:
        """Do ``job`` on the pool; every failure is told as an EngineError."""
        try:
            return await self._pool.run(job, priority=priority, limit_s=limit_s)
        except VoiceModelError as error:
            raise _unavailable(str(error)) from error
        except PoolClosed as error:
            raise _unavailable("the inference pool is closed") from error
        except PoolBusy as error:
            raise EngineOverloaded(f"no place for speech: {error}", stage="tts", provider=_PROVIDER) from error
        except TimeoutError as error:
            raise EngineTimeout(f"no audio within {limit_s} s", stage="tts", provider=_PROVIDER) from error
        except Exception as error:  # onnxruntime's errors share no base class
            raise EngineError(f"the voice failed: {error}", stage="tts", provider=_PROVIDER) from error

    def _steps(
        self, model: VitsModel, phonemes: Sequence[str], request: SpeechRequest
    ) -> Callable[[], tuple[Samples, bool]]:
        """A function that makes the next piece of these phonemes' audio, and tells whether it was the last."""
        rate_hz = self._voice.sample_rate_hz
        shaper = PauseShaper(threshold=_SILENCE_THRESHOLD, lead_samples=ms_to_samples(self._options.lead_ms, rate_hz))
        sounds = model.speak(self._utterance(phonemes, request))
        pause_ms = _PAUSES_MS.get(phonemes[-1], _NO_PUNCTUATION_PAUSE_MS) / max(request.rate, 0.5)
        return partial(_step, sounds, shaper, self._options.gain, ms_to_samples(round(pause_ms), rate_hz))

    def _utterance(self, phonemes: Sequence[str], request: SpeechRequest) -> Utterance:
        voice = self._voice
        return Utterance(
            ids=tuple(voice.ids(phonemes)),
            noise_scale=voice.noise_scale,
            length_scale=voice.length_scale * _length_scale(request.rate),
            noise_w_scale=voice.noise_w_scale,
            speaker=voice.speakers.get(request.voice or "", 0),
        )


def _step(sounds: Iterator[Sound], shaper: PauseShaper, gain: float, pause_samples: int) -> tuple[Samples, bool]:
    """Runs on a pool thread."""
    sound = next(sounds)
    samples = shaper.feed(to_samples(sound.waveform, gain))
    if sound.is_last:
        samples = np.concatenate((samples, shaper.finish(pause_samples)))
    return samples, sound.is_last


def _length_scale(rate: float) -> float:
    rates, scales = zip(*_LENGTH_SCALES, strict=True)
    return float(np.interp(rate, rates, scales))


def _unavailable(message: str) -> EngineUnavailable:
    return EngineUnavailable(message, stage="tts", provider=_PROVIDER)
