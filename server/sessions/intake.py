"""The user's audio on its way into a session: decoded, and no faster than one session may have it.

One per connection that carries audio in its messages. Knows no protocol.
"""

from __future__ import annotations

import time
from typing import Final

import anyio

from agents.core.session import Session
from audio.codecs.factory import make_decoder
from audio.codecs.port import Decoder
from audio.formats import HEARING_RATE_HZ, AudioFormat, Encoding, Samples

AHEAD_S: Final = 5.0
"""How far a client's audio may run ahead of real time before it is slowed down."""
MAX_SPEED: Final = 10
"""How many times real time it may come at from then on: one session never takes the machine from the others."""
PIECE_SAMPLES: Final = HEARING_RATE_HZ // 10
"""A long message is heard in pieces, so that others are heard in between."""


class AudioIntake:
    """Decodes one connection's audio."""

    def __init__(self) -> None:
        self._decoder: Decoder | None = None
        self._format: AudioFormat | None = None
        self._heard_s = 0.0
        self._began_at_s = time.monotonic()

    def expect(self, audio_format: AudioFormat) -> None:
        """From now on audio comes in this format."""
        if audio_format != self._format:
            self._format = audio_format
            self._decoder = make_decoder(audio_format, HEARING_RATE_HZ)

    async def hear(self, session: Session, payload: bytes) -> None:
        """The next bytes. Raises AudioFormatError; nothing was heard then."""
        if self._decoder is None:
            return
        samples = self._decoder.decode(payload)
        if len(samples) <= PIECE_SAMPLES:
            session.hear(samples)
            await self._pace(len(samples))
            return
        for start in range(0, len(samples), PIECE_SAMPLES):
            piece = samples[start : start + PIECE_SAMPLES]
            session.hear(piece)
            await anyio.lowlevel.checkpoint()
            await self._pace(len(piece))

    def decoded(self, payload: bytes) -> Samples:
        """A whole recording in the format of this connection, at 16 kHz. Raises AudioFormatError."""
        audio_format = self._format or AudioFormat(Encoding.PCM16, HEARING_RATE_HZ)
        return make_decoder(audio_format, HEARING_RATE_HZ).decode(payload)

    async def _pace(self, samples: int) -> None:
        seconds = samples / HEARING_RATE_HZ
        self._heard_s += seconds
        if self._heard_s - (time.monotonic() - self._began_at_s) > AHEAD_S:
            await anyio.sleep(seconds / MAX_SPEED)
