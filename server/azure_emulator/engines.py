"""What the emulator listens and speaks with: the embedded engines, or a script that answers at once.

Owns the engines' life. Knows no protocol; driven by ``service``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread

from audio.errors import EngineUnavailable
from audio.stt.port import SpeechToText
from audio.stt.scripted import ScriptedSpeechToText
from audio.tts.port import TextToSpeech
from audio.tts.scripted import ScriptedTextToSpeech, ScriptedVoice
from audio.vad.port import VadOptions, VoiceActivityDetector
from server.azure_emulator.scripted_hearing import LoudnessDetector

DEFAULT_SCRIPT: Final = ("Go forward ten meters.", "What is the weather like today?", "Thank you, goodbye.")
POOL_WORKERS: Final = 2


@dataclass(frozen=True, slots=True)
class EmulatorEngines:
    """``stt(position)`` is the engine for a turn that has heard ``position`` phrases before (scripts go on there)."""

    name: str
    stt: Callable[[int], SpeechToText]
    tts: TextToSpeech
    make_detector: Callable[[VadOptions], VoiceActivityDetector]
    min_speech_ms: int


def scripted_engines(
    texts: Sequence[str] = DEFAULT_SCRIPT, *, partial_every_ms: int = 200, voice: ScriptedVoice | None = None
) -> EmulatorEngines:
    """Engines without models: what was said is what the script says, a voice is a tone.

    Args:
        texts: one per phrase, over and over; an empty text is a phrase that nobody understood.
        partial_every_ms: speech between hypotheses.
        voice: how long the tone is.
    """

    def stt(position: int) -> SpeechToText:
        at = position % len(texts)
        return ScriptedSpeechToText([*texts[at:], *texts[:at]], partial_every_ms=partial_every_ms)

    return EmulatorEngines("scripted", stt, ScriptedTextToSpeech(voice), LoudnessDetector, min_speech_ms=30)


@asynccontextmanager
async def embedded_engines(model: Path | None = None, voice: Path | None = None) -> AsyncGenerator[EmulatorEngines]:
    """Whisper, Piper and Silero, loaded. Raises EngineUnavailable with a sentence that says how to mend it."""
    try:
        from audio.inference import InferencePool  # noqa: PLC0415 - scripts need none of this
        from audio.stt.whisper import WhisperSpeechToText  # noqa: PLC0415
        from audio.tts.phonemizer.find import find_phonemizer  # noqa: PLC0415
        from audio.tts.piper import PiperTextToSpeech  # noqa: PLC0415
        from audio.tts.voice import find_voice  # noqa: PLC0415
        from audio.vad.chain import make_detector  # noqa: PLC0415
        from audio.vad.silero import SileroModel  # noqa: PLC0415
    except ImportError as error:
        message = f"The embedded engines are not installed ({error}). Use a script: --scripted."
        raise EngineUnavailable(message, stage="stt", provider="embedded") from error
    async with InferencePool(POOL_WORKERS) as pool:
        stt = WhisperSpeechToText(pool, model)
        tts = PiperTextToSpeech(pool, await anyio.to_thread.run_sync(find_voice, voice), find_phonemizer())
        try:
            await stt.warm_up()
            await tts.warm_up()
            silero = await anyio.to_thread.run_sync(SileroModel)
            detector = partial(make_detector, silero=silero.stream)
            yield EmulatorEngines("embedded", lambda _: stt, tts, detector, min_speech_ms=96)
        finally:
            await tts.aclose()
            await stt.aclose()
