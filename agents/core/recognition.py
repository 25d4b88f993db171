"""A session's recognition stream: opened, opened anew with other options, closed.

Owns which stream hears. A session without one goes on in writing, and says so. Driven by the session.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping

import anyio

from agents.core.hearing import Hearing
from agents.core.options import Engines, SessionOptions
from agents.events import Degraded
from audio.errors import EngineError
from audio.fallback import Maker
from audio.stt.fallback import FallbackStream
from audio.stt.port import SttOptions, SttStream

log = logging.getLogger(__name__)


class Recognition:
    """The stream that hears one session."""

    def __init__(self, engines: Engines, hearing: Hearing, options: Callable[[], SessionOptions]) -> None:
        self._engines = engines
        self._hearing = hearing
        self._options = options
        self._stream: SttStream | None = None
        self._heard: Counter[Maker] = Counter()

    @property
    def is_open(self) -> bool:
        """Whether speech is recognised at all."""
        return self._stream is not None

    async def open(self) -> Degraded | None:
        """Begin to recognise; what is lost where that is not to be had."""
        stream, lost = await self._opened()
        before, self._stream = self._stream, stream or self._stream
        if stream is not None or before is None:
            self._hearing.attach(stream)
        if stream is not None and before is not None:
            self._heard.update(heard_by(before))
            await before.aclose()
        return lost

    def recognised_elsewhere(self, samples: int, heard: Mapping[Maker, int]) -> None:
        """So many samples were recognised beside this stream, ``heard`` by whom where that may be several."""
        self._hearing.recognised_elsewhere(samples)
        self._heard.update(heard)

    def take_heard(self) -> Mapping[Maker, int]:
        """Samples by the engine that recognised them, since this was last asked, where several may have."""
        taken, self._heard = self._heard, Counter()
        if self._stream is not None:
            taken.update(heard_by(self._stream))
        return taken

    async def aclose(self) -> None:
        """Release the stream."""
        if self._stream is not None:
            await self._stream.aclose()

    async def _opened(self) -> tuple[SttStream | None, Degraded | None]:
        options = self._options()
        if not options.listen:
            return None, None
        stt = (self._engines.cheaper or self._engines).stt
        if stt is None:
            why = self._engines.missing.get("stt", "Speech cannot be recognised here; please type.")
            return None, Degraded("speech", "text", why)
        hearing = self._hearing
        try:
            with anyio.fail_after(options.limits.stt_open_s):
                wanted = recognition_options(options)
                return await stt.open(wanted, hearing.on_transcript, hearing.on_stt_failure), None
        except (EngineError, TimeoutError) as error:
            log.warning("speech recognition could not be opened", extra={"reason": str(error)})
            return None, Degraded("speech", "text", f"Speech cannot be recognised now ({error}); please type.")


def heard_by(stream: SttStream) -> Mapping[Maker, int]:
    """Samples by the engine that recognised them, since the stream was last asked, where it is several engines'."""
    return stream.take_heard() if isinstance(stream, FallbackStream) else {}


def recognition_options(options: SessionOptions) -> SttOptions:
    """What a session's options mean for recognition."""
    budget = options.budget
    if budget is None or not budget.does("stt", "fallback"):
        return SttOptions(options.locale, options.phrases, partials=options.partials)
    return SttOptions(
        options.locale,
        options.phrases,
        partials=options.partials,
        answer_s=budget.stages["stt"].deadline_ms / 1_000,
        words_suffice=budget.first("stt", "use_partial", "fallback") == "use_partial",
    )
