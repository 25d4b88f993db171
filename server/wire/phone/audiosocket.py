"""Asterisk's AudioSocket: frames on a TCP connection.

https://docs.asterisk.org/Configuration/Channel-Drivers/AudioSocket/. One byte of kind, two of length (big-endian), the
payload. The call's UUID comes first, then 16-bit little-endian samples at 8 kHz. Asterisk plays what it gets at once:
it is sent in real time.
"""

from __future__ import annotations

import struct
import uuid
from typing import Final

from audio.formats import AudioFormat, Encoding
from server.wire.phone.port import (
    Frame,
    StreamAudio,
    StreamBegan,
    StreamEnded,
    StreamEvent,
    StreamFault,
    StreamKey,
    StreamTraits,
)

SLIN: Final = AudioFormat(Encoding.PCM16, 8_000)
HANGUP: Final = 0x00
UUID: Final = 0x01
DTMF: Final = 0x03
AUDIO: Final = 0x10
OTHER_RATES: Final = range(0x11, 0x19)
ERROR: Final = 0xFF
MAX_PAYLOAD_BYTES: Final = 16_000
"""A second of audio; Asterisk sends 20 ms."""
_HEADER: Final = struct.Struct("!BH")


class AudioSocketCodec:
    """``StreamCodec`` for AudioSocket; ``feed`` takes the bytes in any pieces."""

    traits = StreamTraits(paced=True, frame_ms=20)

    def __init__(self) -> None:
        self._rest = bytearray()
        self._began = False

    def feed(self, frame: Frame) -> list[StreamEvent]:
        """What these bytes make complete. Raises StreamFault, always fatal: the frames' borders are lost."""
        if isinstance(frame, str):
            raise StreamFault("AudioSocket is a stream of bytes.", fatal=True)
        self._rest += frame
        events: list[StreamEvent] = []
        while len(self._rest) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._rest)
            if length > MAX_PAYLOAD_BYTES:
                raise StreamFault("A frame is too large.", fatal=True)
            end = _HEADER.size + length
            if len(self._rest) < end:
                break
            payload = bytes(self._rest[_HEADER.size : end])
            del self._rest[:end]
            events += self._event(kind, payload)
        return events

    def audio(self, payload: bytes) -> bytes:
        """20 ms of the agent's voice."""
        return _HEADER.pack(AUDIO, len(payload)) + payload

    def mark(self, name: str) -> None:
        """Asterisk tells nothing of what it plays."""
        return

    def clear(self) -> None:
        """Nothing is buffered there."""
        return

    def hang_up(self) -> bytes:
        """Hang up."""
        return _HEADER.pack(HANGUP, 0)

    def _event(self, kind: int, payload: bytes) -> list[StreamEvent]:
        if kind == UUID:
            return self._start(payload)
        if kind == HANGUP:
            return [StreamEnded()]
        if kind == ERROR:
            raise StreamFault("Asterisk reports an error.", fatal=True)
        if not self._began:
            raise StreamFault("The call's UUID must come first.", fatal=True)
        if kind == AUDIO:
            if len(payload) % 2:
                raise StreamFault("A frame of audio ends in the middle of a sample.", fatal=True)
            return [StreamAudio(payload)]
        if kind == DTMF:
            return [StreamKey(payload.decode("latin-1"))]
        if kind in OTHER_RATES:
            raise StreamFault("The audio must come at 8000 Hz (slin).", fatal=True)
        return []

    def _start(self, payload: bytes) -> list[StreamEvent]:
        if self._began or len(payload) != 16:
            raise StreamFault("The call's UUID must come once, in 16 bytes.", fatal=True)
        self._began = True
        return [StreamBegan(str(uuid.UUID(bytes=payload)), SLIN)]
