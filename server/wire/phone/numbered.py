"""Audio in base64 with a number on it, as Twilio and those who follow its example send it.

Puts chunks in order, leaves silence where one is lost, and takes the caller's track only. Pure; used by the codecs.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from audio.formats import Encoding
from server.wire.phone.order import ChunkOrder
from server.wire.phone.port import StreamAudio, StreamFault, whole

_SILENCE: Final = {Encoding.G711_ULAW: b"\xff", Encoding.G711_ALAW: b"\xd5", Encoding.PCM16: b"\x00"}
MOST_SILENCE_BYTES: Final = 1_600
"""For each chunk that is lost: 200 ms of G.711."""


class NumberedAudio:
    """The caller's audio of one stream."""

    def __init__(self, encoding: Encoding) -> None:
        self._silence = _SILENCE[encoding]
        self._order = ChunkOrder()

    def take(self, media: dict[str, Any]) -> list[StreamAudio]:
        """What a ``media`` object makes complete. Raises StreamFault."""
        if media.get("track", "inbound") not in {"inbound", "inbound_track"}:
            return []
        payload = decoded(media.get("payload"))
        number = whole(media.get("chunk"))
        if number is None:
            return [StreamAudio(payload)]
        silence = self._silence * min(len(payload), MOST_SILENCE_BYTES)
        told = self._order.take(number, payload)
        return [StreamAudio(silence if each is None else each) for each in told]


def decoded(payload: object) -> bytes:
    """Base64 as bytes. Raises StreamFault."""
    if not isinstance(payload, str):
        raise StreamFault("A frame of audio has no payload.")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise StreamFault("A payload is not base64.") from error


def encoded(payload: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(payload).decode("ascii")
