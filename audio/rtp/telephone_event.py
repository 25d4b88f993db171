"""Keys pressed, as RTP events: RFC 4733.

Both directions are pure: packets in and a key out once; keys in and packets out, frame by frame. Driven by a call.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import Final

from audio.rtp.packet import RtpPacket

KEYS: Final = "0123456789*#ABCD"
_EVENT: Final = struct.Struct("!BBH")
_END: Final = 0x80
_VOLUME: Final = 10  # dBm0 below zero
_PRESSED_FRAMES: Final = 6
_RELEASED_FRAMES: Final = 4
_END_PACKETS: Final = 3
_MAX_WAITING: Final = 128


class KeysHeard:
    """Events of one sender to keys; each once, at its first packet that comes."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque(maxlen=16)

    def receive(self, packet: RtpPacket) -> str | None:
        """The key an event packet tells for the first time."""
        if len(packet.payload) < _EVENT.size:
            return None
        event, _, _ = _EVENT.unpack_from(packet.payload)
        name = (packet.ssrc, packet.timestamp)
        if event >= len(KEYS) or name in self._seen:
            return None
        self._seen.append(name)
        return KEYS[event]


@dataclass(frozen=True, slots=True)
class EventFrame:
    """What 20 ms of a pressed key are sent as: payloads, how far back the key went down, whether it just did."""

    payloads: tuple[bytes, ...]
    frames_ago: int
    marker: bool


class KeysPressed:
    """Keys waiting to be sent; asked for a frame every 20 ms. ``clock_hz`` is that of the events' timestamps."""

    def __init__(self, clock_hz: int) -> None:
        self._frame_units = clock_hz // 50
        self._waiting: deque[int] = deque()
        self._frame = 0

    @property
    def idle(self) -> bool:
        return not self._waiting

    def press(self, keys: str) -> None:
        """Raises ValueError for what is no key, and for too many."""
        events = [KEYS.index(key) for key in keys.upper()]
        if len(self._waiting) + len(events) > _MAX_WAITING:
            raise ValueError("too many keys are waiting to be pressed")
        self._waiting += events

    def frame(self) -> EventFrame | None:
        """What to send in this frame instead of audio; None where no key is down."""
        if not self._waiting:
            return None
        at, event = self._frame, self._waiting[0]
        self._frame += 1
        if at >= _PRESSED_FRAMES:
            if self._frame >= _PRESSED_FRAMES + _RELEASED_FRAMES:
                self._waiting.popleft()
                self._frame = 0
            return None
        last = at == _PRESSED_FRAMES - 1
        payload = _EVENT.pack(event, _VOLUME | (_END if last else 0), (at + 1) * self._frame_units)
        return EventFrame((payload,) * (_END_PACKETS if last else 1), at, at == 0)
