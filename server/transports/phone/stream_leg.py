"""A telephone call over a media stream, as a conversation sees it: ``server.telephony.port.PhoneLeg``.

Turns the stream's events into what a listener is told, and the agent's voice into frames, at once or in real time as
the carrier wants them. Knows neither the protocol (the codec does) nor the connection: its reader calls ``feed``,
``send`` is its writer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import Final

import anyio

from audio.codecs.factory import make_decoder
from audio.errors import AudioFormatError
from audio.formats import AudioFormat, Samples, samples_to_ms
from server.telephony.control import CallControl
from server.telephony.port import CallControlError, CallInfo, HangUpReason, PhoneListener
from server.transports.phone.outlet import Outlet
from server.transports.phone.voice_queue import VoiceQueue
from server.wire.phone.port import (
    Frame,
    StreamAudio,
    StreamBegan,
    StreamCodec,
    StreamEnded,
    StreamEvent,
    StreamKey,
    StreamMark,
    together,
)

logger = logging.getLogger(__name__)

EARLY_MS: Final = 2_000
"""What is kept of a caller who speaks before anybody listens: the newest."""
MAX_EARLY_KEYS: Final = 32
TOGETHER_MS: Final = 200
"""What is heard at once of audio that came at once."""
LEAD_S: Final = 0.04
"""How far ahead of real time a paced carrier gets its frames."""
LAST_WORDS_S: Final = 1.2
"""What the carrier gets to play what it has, before the call is hung up."""


class StreamLeg:
    """One call."""

    def __init__(self, info: CallInfo, codec: StreamCodec, audio: AudioFormat, control: CallControl | None) -> None:
        """``control`` is the carrier's API for the call, where there is one."""
        self.info = info
        self.rate_hz = audio.sample_rate_hz
        self.can_transfer = control is not None
        self.says_summary = control is not None and control.says_summary
        self.in_bites = False
        self.over = anyio.Event()
        """Set once the call is over for us: the connection may be closed."""
        self.sent = anyio.Event()
        """Set by its writer, once nothing more is sent."""
        self.reason: HangUpReason | None = None
        self._codec = codec
        self._control = control
        self._decoder = make_decoder(audio, audio.sample_rate_hz)
        self._sample_bytes = audio.sample_bytes
        self._most_bytes = TOGETHER_MS * audio.sample_rate_hz // 1_000 * self._sample_bytes
        self._voice = VoiceQueue(audio, codec.traits)
        self._commands: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._listener: PhoneListener | None = None
        self._early: deque[Samples] = deque()
        self._early_samples = 0
        self._early_keys = ""
        self._heard_ms = 0
        self._played_until_s = 0.0
        self._progress = asyncio.Event()
        self._transferred = False

    # --- what the conversation does ---

    def play(self, samples: Samples, rate_hz: int) -> None:
        """More of the agent's voice."""
        self._voice.add(samples, rate_hz)
        self._wake.set()

    def finish(self) -> None:
        """The turn's audio is complete."""
        self._voice.finish()
        self._wake.set()

    def clear(self) -> None:
        """Silence now: what was not sent is dropped, and the carrier is told to drop the rest."""
        self._voice.clear()
        self._heard_ms = 0
        self._played_until_s = 0.0
        frame = self._codec.clear()
        if frame is not None:
            self._commands.append(frame)
        self._wake.set()

    def listen(self, listener: PhoneListener) -> None:
        """Begin to tell this listener; what came before is told first."""
        self._listener = listener
        for samples in self._early:
            listener.heard(samples, self.rate_hz)
        for digit in self._early_keys:
            listener.digit(digit)
        self._early.clear()
        self._early_keys = ""
        if self.reason is not None:
            listener.ended(self.reason)

    async def hang_up(self, reason: HangUpReason) -> None:
        """End the call, after what was played; harmless when it is over."""
        if not self.over.is_set():
            with anyio.move_on_after(LAST_WORDS_S):
                await self._played_out()
            self.reason = self.reason or reason
            frame = self._codec.hang_up()
            if frame is not None and not self._transferred:
                self._commands.append(frame)
            self.over.set()
            self._wake.set()

    async def transfer(self, target: str, summary: str | None = None) -> None:
        """Connect the caller with somebody else, by the carrier's API. Raises CallControlError."""
        await self._controlled().transfer(self.info, target, summary)
        self._transferred = True

    @property
    def presses_keys(self) -> bool:
        """Whether the carrier's API can press keys."""
        return self._control is not None and self._control.presses_keys

    async def send_digits(self, digits: str) -> None:
        """Press keys, by the carrier's API. Raises CallControlError."""
        await self._controlled().send_digits(self.info, digits)

    async def sent_out(self, limit_s: float) -> None:
        """Return once the last words have left, or cannot."""
        with anyio.move_on_after(limit_s):
            await self.sent.wait()

    async def let_go(self) -> None:
        """The connection is closed: see to it that the call ends, too, unless it goes on elsewhere. Never raises."""
        if self._control is None or self._transferred or self.reason == "caller":
            return
        try:
            await self._control.hang_up(self.info)
        except CallControlError as error:
            logger.warning("call not ended", extra={"call_id": self.info.call_id, "why": str(error)})

    # --- what the connection does ---

    def feed(self, events: list[StreamEvent]) -> None:
        """What the stream says. Raises AudioFormatError for audio that cannot be heard, after all the rest was."""
        fault: AudioFormatError | None = None
        for event in together(events, self._sample_bytes, self._most_bytes):
            try:
                self._take(event)
            except AudioFormatError as error:
                fault = fault or error
        if fault is not None:
            raise fault

    def lost(self, reason: HangUpReason) -> None:
        """The call is over at the other end. Only the first reason counts."""
        if self.reason is None:
            self.reason = reason
            self.over.set()
            self._wake.set()
            self._progress.set()
            if self._listener is not None:
                self._listener.ended(reason)

    @property
    def overflowed(self) -> bool:
        """Whether the carrier takes no audio."""
        return self._voice.overflowed

    async def send(self, outlet: Outlet) -> None:
        """Send what there is to send, until the call is over and everything has left. Raises OutletGone."""
        due_s = 0.0
        while True:
            self._wake.clear()
            while self._commands:
                await outlet.send(self._commands.popleft())
            if self.over.is_set():
                return
            wait_s = due_s - time.monotonic() if self._codec.traits.paced else 0.0
            if wait_s > 0:
                await self._nap(wait_s)
                continue
            payload = self._voice.take()
            if payload is None:
                await self._wake.wait()
                continue
            due_s = self._due(due_s, payload)
            await outlet.send(self._codec.audio(payload))
            await self._mark(outlet)

    # --- parts ---

    def _take(self, event: StreamEvent) -> None:
        match event:
            case StreamAudio(payload):
                self._heard(self._decoder.decode(payload))
            case StreamKey(digit):
                self._key(digit)
            case StreamMark(name):
                self._reached(name)
            case StreamEnded():
                self.lost("caller")
            case StreamBegan():
                raise AudioFormatError("a stream begins once")

    def _due(self, due_s: float, payload: bytes) -> float:
        """When the next frame may leave; notes until when this one sounds."""
        now_s, length_s = time.monotonic(), self._voice.length_ms(payload) / 1_000
        self._played_until_s = max(now_s, self._played_until_s) + length_s
        return max(due_s, now_s - LEAD_S) + length_s

    async def _nap(self, seconds: float) -> None:
        """Until so much later; only commands hurry it."""
        until_s = time.monotonic() + seconds
        while not self._commands and not self.over.is_set() and (left_s := until_s - time.monotonic()) > 0:
            self._wake.clear()
            with anyio.move_on_after(left_s):
                await self._wake.wait()

    async def _mark(self, outlet: Outlet) -> None:
        if not self._codec.traits.marks:
            return
        name = self._voice.mark()
        frame = None if name is None else self._codec.mark(name)
        if frame is not None:
            await outlet.send(frame)

    async def _played_out(self) -> None:
        while len(self._voice):
            await self._moment(0.02)
        if self._codec.traits.marks:
            while self._heard_ms < self._voice.sent_ms:
                await self._moment(0.1)
        else:
            await anyio.sleep(max(0.0, self._played_until_s - time.monotonic()))

    async def _moment(self, seconds: float) -> None:
        self._progress.clear()
        with anyio.move_on_after(seconds):
            await self._progress.wait()

    def _heard(self, samples: Samples) -> None:
        if self._listener is not None:
            self._listener.heard(samples, self.rate_hz)
            return
        self._early.append(samples)
        self._early_samples += len(samples)
        while samples_to_ms(self._early_samples, self.rate_hz) > EARLY_MS:
            self._early_samples -= len(self._early.popleft())

    def _key(self, digit: str) -> None:
        if self._listener is not None:
            self._listener.digit(digit)
        elif len(self._early_keys) < MAX_EARLY_KEYS:
            self._early_keys += digit[:1]

    def _reached(self, name: str) -> None:
        heard_ms = self._voice.reached(name)
        if heard_ms is None or heard_ms <= self._heard_ms:
            return
        self._heard_ms = heard_ms
        self._progress.set()
        if self._listener is not None:
            self._listener.played(heard_ms)

    def _controlled(self) -> CallControl:
        if self._control is None:
            raise CallControlError("This line cannot do that: its carrier has no interface for it here.")
        return self._control
