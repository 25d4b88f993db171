"""Which phonemizer this machine has. Driven by whoever builds the speaking engine."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from audio.errors import EngineUnavailable
from audio.tts.phonemizer.client import PhonemizerProcess
from audio.tts.phonemizer.port import Phonemizer
from audio.tts.phonemizer.program import EspeakProgram


def find_phonemizer() -> Phonemizer:
    """The best phonemizer this machine has; nothing is started yet.

    Raises:
        EngineUnavailable: neither ``piper-tts`` nor the ``espeak-ng`` program is installed.
    """
    if find_spec("piper") is not None:
        return PhonemizerProcess()
    program = shutil.which("espeak-ng")
    if program is not None:
        return EspeakProgram(program)
    raise EngineUnavailable(
        "the Piper voice needs a phonemizer: pip install 'convergio-voice[piper]', or install the espeak-ng program "
        "(apt-get install espeak-ng)",
        stage="tts",
        provider="piper",
    )
