"""A reply spoken while it is still being written: its pieces go to the voice's text stream, its audio to the writer.

Owns one stream: two tasks, one that writes and one that plays, and what the voice owes them. Text runs ahead of speech
by a bounded stretch. Knows nothing of models or turn-taking; driven by ``agents.core.turn_run``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from agents.core.alignment import ReplyAlignment, ReplyCaptions, joined
from agents.core.answering import PendingPhrase
from agents.core.speaking import Speaking, SpokenPhrase
from agents.loop.speakable import speakable
from audio.errors import EngineError, EngineTimeout
from audio.stt.port import WordTiming
from audio.tts.owed_audio import OwedAudio
from audio.tts.port import SpeechAudio, TextStream

CHARACTERS_AHEAD: Final = 600
"""Text that is written and not yet spoken; some forty seconds of speech, which is what may have to be thrown away."""
MOST_CHARACTERS: Final = 8_000
"""Of one stream; a longer reply goes on in another, from its next phrase on."""
_LONGEST_WAIT_S: Final = 5.0
"""For room ahead: a voice whose words cannot be followed is not waited for longer."""
_FASTEST_MS_PER_CHARACTER: Final = 30


class StreamedReply:
    """One stream of one turn."""

    def __init__(
        self, speaking: Speaking, on_phrase: Callable[[SpokenPhrase], None], is_refused: Callable[[], bool]
    ) -> None:
        """``on_phrase`` is told of every phrase once its last word has been made. Once the answer ``is_refused``,
        nothing more of it is made."""
        self._is_refused = is_refused
        self._speaking = speaking
        self._on_phrase = on_phrase
        self._alignment = ReplyAlignment()
        self._captions = ReplyCaptions(self._alignment.progress)
        limits = speaking.options.limits
        self._owed = OwedAudio(self._alignment.progress, limits.tts_first_audio_s, limits.tts_gap_s)
        self._writing = anyio.CancelScope()
        self._moved = anyio.Event()
        self._error: EngineError | None = None
        self._start_ms = 0
        self._made_ms = 0

    async def run(self, first: PendingPhrase, items: MemoryObjectReceiveStream[PendingPhrase]) -> PendingPhrase | None:
        """Speak from ``first`` on until the pieces end, or are too many for one stream. Returns the item that was
        taken and is no part of it, if any. Raises EngineError."""
        start_ms = self._speaking.begin("")
        if start_ms is None:
            return None
        self._start_ms = start_ms
        stream = await self._speaking.open_text()
        following: PendingPhrase | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._play, stream)
                following = await self._write(stream, first, items)
                if self._is_refused():
                    self._speaking.requests.unwanted()
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
        if self._error is not None:
            raise self._error
        return following

    # --- text ---

    async def _write(
        self, stream: TextStream, first: PendingPhrase, items: MemoryObjectReceiveStream[PendingPhrase]
    ) -> PendingPhrase | None:
        item: PendingPhrase | None = first
        try:
            with self._writing:
                while item is not None and item.streamed:
                    if not self._is_refused():
                        await self._write_piece(stream, item)
                    if item.ends_phrase and len(self._alignment.progress.text) > MOST_CHARACTERS:
                        item = None
                    else:
                        item = await anext(items, None)
                self._alignment.progress.finished = True
                if not self._is_refused():
                    await stream.finish()
                self._owed.text_changed()
        except EngineError as error:
            self._fail(error)
        return item

    async def _write_piece(self, stream: TextStream, piece: PendingPhrase) -> None:
        speaking = self._speaking
        spoken = joined(speakable(piece.text, speaking.options.locale), piece.text)
        await self._room()
        self._alignment.add(piece.text, spoken)
        self._captions.add(piece.text, ends_phrase=piece.ends_phrase)
        speaking.says(piece.text, len(spoken))
        if spoken:
            await stream.write(spoken)
            self._owed.text_changed()

    async def _room(self) -> None:
        with anyio.move_on_after(_LONGEST_WAIT_S):
            while not self._is_refused() and self._ahead > CHARACTERS_AHEAD:
                await self._moved.wait()

    @property
    def _ahead(self) -> int:
        progress = self._alignment.progress
        return len(progress.text) - max(progress.at, self._least_said)

    @property
    def _least_said(self) -> int:
        """By the audio alone, however fast the voice."""
        return (self._made_ms - self._start_ms) // _FASTEST_MS_PER_CHARACTER

    # --- audio ---

    async def _play(self, stream: TextStream) -> None:
        speaking = self._speaking
        try:
            async with aclosing(stream.audio()) as audio:
                while (piece := await self._next(audio)) is not None:
                    for word in piece.words:
                        self._say(speaking.at_output_rate(word))
                    self._made_ms = await speaking.put(piece)
                    self._moved.set()
                    self._moved = anyio.Event()
        except EngineError as error:
            self._fail(error)
            return
        for phrase in self._captions.finish(self._made_ms):
            self._on_phrase(phrase)

    async def _next(self, audio: AsyncGenerator[SpeechAudio]) -> SpeechAudio | None:
        limit_s = self._owed.limit_s
        try:
            return await self._owed.next(audio)
        except TimeoutError as error:
            raise EngineTimeout(
                f"no audio within {limit_s:g} s", stage="tts", provider=self._speaking.provider
            ) from error

    def _say(self, word: WordTiming) -> None:
        characters = self._alignment.said(word.text)
        if characters is not None:
            self._speaking.word_ends(word.end_sample, characters)
        start_ms, end_ms = (self._start_ms + self._speaking.in_ms(at) for at in (word.start_sample, word.end_sample))
        for phrase in self._captions.said(start_ms, end_ms):
            self._on_phrase(phrase)

    def _fail(self, error: EngineError) -> None:
        """The stream is over: both tasks end, and ``run`` raises this."""
        if self._error is None:
            self._error = error
        self._writing.cancel()
        self._owed.fail(error)
