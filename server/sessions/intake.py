"""The user's audio on its way into a session: decoded, and no faster than one session may have it.

One per connection that carries audio in its messages. Knows no protocol.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import anyio
import numpy as np

from agents.core.session import Session
from agents.core.sound_meter import ticks
from audio.codecs.factory import make_decoder
from audio.codecs.port import Decoder
from audio.formats import HEARING_RATE_HZ, AudioFormat, Encoding, Samples

AHEAD_S: Final = 5.0
"""How far a client's audio may run ahead of real time before it is slowed down."""
MAX_SPEED: Final = 10
"""How many times real time it may come at from then on: one session never takes the machine from the others."""
PIECES_PER_S: Final = 10
PIECE_SAMPLES: Final = HEARING_RATE_HZ // PIECES_PER_S
"""A long message is heard in pieces, so that others are heard in between."""


class AudioIntake:
    """Decodes one connection's audio."""

    def __init__(self, *, joined: bool = False) -> None:
        """``joined``: the bytes are one stream, which may be cut in the middle of a sample."""
        self._joined = joined
        self._decoder: Decoder | None = None
        self._rest = b""
        """Half a sample, whose other half comes with the next bytes."""
        self._format: AudioFormat | None = None
        self._heard_s = 0.0
        self._began_at_s = time.monotonic()

    def expect(self, audio_format: AudioFormat) -> None:
        """From now on audio comes in this format."""
        if audio_format != self._format:
            self._format, self._rest = audio_format, b""
            self._decoder = make_decoder(audio_format, HEARING_RATE_HZ)

    async def hear(self, session: Session, payload: bytes) -> None:
        """The next bytes. Raises AudioFormatError; nothing was heard then.

        A stream may come in bytes of any length; a message of its own holds at most what a decoder takes at once.
        """
        decoder = self._decoder
        if decoder is None:
            return
        payload = self._whole(payload)
        if self._joined:
            heard = (decoder.decode(piece) for piece in _pieces(payload, self._format))
        else:
            heard = _stretches(decoder.decode(payload))
        came: int | None = self.ticks(payload)
        for samples in heard:
            session.hear(samples, came)
            came = None if came is None else 0  # all of it with the first: whoever leaves meanwhile has sent it
            await self._pace(len(samples))
            if len(samples) > PIECE_SAMPLES // 2:
                await anyio.lowlevel.checkpoint()

    def ticks(self, payload: bytes) -> int | None:
        """How much audio that is (see ``agents.core.sound_meter``); ``None`` where only its decoder can tell (Opus)."""
        match self._format:
            case AudioFormat(Encoding.PCM16, rate_hz):
                return ticks(len(payload) // 2, rate_hz)
            case AudioFormat(Encoding.G711_ULAW | Encoding.G711_ALAW, rate_hz):
                return ticks(len(payload), rate_hz)
            case _:
                return None

    def _whole(self, payload: bytes) -> bytes:
        """The payload in whole samples."""
        if not self._joined or self._format is None or self._format.encoding is not Encoding.PCM16:
            return payload
        payload = self._rest + payload
        self._rest = payload[-1:] if len(payload) % 2 else b""
        return payload[:-1] if self._rest else payload

    def decoded(self, payload: bytes) -> Samples:
        """A whole recording in the format of this connection, at 16 kHz. Raises AudioFormatError."""
        audio_format = self._format or AudioFormat(Encoding.PCM16, HEARING_RATE_HZ)
        decoder = make_decoder(audio_format, HEARING_RATE_HZ)
        return np.concatenate([decoder.decode(piece) for piece in _pieces(payload, audio_format)])

    async def _pace(self, samples: int) -> None:
        seconds = samples / HEARING_RATE_HZ
        self._heard_s += seconds
        if self._heard_s - (time.monotonic() - self._began_at_s) > AHEAD_S:
            await anyio.sleep(seconds / MAX_SPEED)


def _stretches(samples: Samples) -> Iterator[Samples]:
    """The samples, at most 100 ms at a time."""
    return (samples[start : start + PIECE_SAMPLES] for start in range(0, len(samples), PIECE_SAMPLES))


def _pieces(payload: bytes, audio_format: AudioFormat | None) -> list[bytes]:
    """The payload in stretches of at most 100 ms; a packet of Opus is one already."""
    if audio_format is None or audio_format.encoding is Encoding.OPUS:
        return [payload]
    sample_bytes = audio_format.sample_bytes
    step = audio_format.sample_rate_hz // PIECES_PER_S * sample_bytes
    if len(payload) <= step:
        return [payload]
    return [payload[start : start + step] for start in range(0, len(payload), step)]
