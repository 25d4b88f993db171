"""Phonemes from the ``espeak-ng`` program of the system, for machines without ``piper-tts``.

Owns one short process per text. Knows how the program prints: one line of IPA per clause, punctuation lost, so the
punctuation is found again in the text. Driven by ``audio.tts.piper``; chosen by ``find``.
"""

from __future__ import annotations

import re
import subprocess
from typing import Final

import anyio

from audio.errors import EngineError, EngineTimeout, EngineUnavailable
from audio.tts.phonemizer.port import MAX_CHARACTERS, Clause, sentences

_PROVIDER: Final = "espeak-ng"
_TERMINATOR: Final = re.compile(r"([.,;:!?])[\"')\]]*(?:\s+|$)")
_SENTENCE_ENDS: Final = frozenset(".!?")


class EspeakProgram:
    """A ``Phonemizer`` that runs ``program`` once per text, at most two at a time, each within ``limit_s``."""

    def __init__(self, program: str, *, limit_s: float = 2.0) -> None:
        self._program = program
        self._limit_s = limit_s
        self._running = anyio.Semaphore(2)

    async def phonemes(self, text: str, locale: str) -> list[list[str]]:
        """Sentences of phonemes. Raises EngineTimeout, EngineUnavailable (it cannot be run), EngineError."""
        if len(text) > MAX_CHARACTERS:
            raise EngineError(
                f"a text of {len(text)} characters is over the limit of {MAX_CHARACTERS}",
                stage="tts",
                provider=_PROVIDER,
            )
        async with self._running:
            printed = await self._run(text, locale)
        return sentences(_clauses(text, printed))

    async def aclose(self) -> None:
        """Nothing outlives a call."""

    async def _run(self, text: str, locale: str) -> str:
        command = [self._program, "-q", "--ipa", "-v", locale, "--stdin"]
        try:
            with anyio.fail_after(self._limit_s):
                done = await anyio.run_process(
                    command, input=text.encode(), stderr=subprocess.DEVNULL, start_new_session=True
                )
        except TimeoutError as error:
            message = f"no phonemes within {self._limit_s} s"
            raise EngineTimeout(message, stage="tts", provider=_PROVIDER) from error
        except OSError as error:
            message = f"{self._program} cannot be run: {error}"
            raise EngineUnavailable(message, stage="tts", provider=_PROVIDER) from error
        except subprocess.CalledProcessError as error:
            message = f"espeak-ng failed with exit code {error.returncode} (voice {locale!r})"
            raise EngineError(message, stage="tts", provider=_PROVIDER) from error
        return done.stdout.decode(errors="replace")


def _clauses(text: str, printed: str) -> list[Clause]:
    """The printed lines with their punctuation, or with commas between them where the text's does not line up."""
    lines = [line.strip() for line in printed.splitlines()]
    text = text.strip()
    found = list(_TERMINATOR.finditer(text))
    ends = [match.group(1) for match in found]
    last = ends.pop() if found and found[-1].end() == len(text) else ""
    if len(ends) != len(lines) - 1:
        ends = [","] * (len(lines) - 1)
    return [Clause(line, end, end in _SENTENCE_ENDS) for line, end in zip(lines, [*ends, last], strict=False)]
