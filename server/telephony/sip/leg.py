"""One SIP call as a conversation has it: ``server.telephony.port.PhoneLeg`` over the call's media and signalling.

Keeps what comes before anybody listens, within bounds. Signalling is asked through ``CallControl``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import anyio

from audio.formats import Samples
from audio.rtp.telephone_event import KEYS
from server.telephony.port import CallControlError, CallInfo, HangUpReason, PhoneListener
from server.telephony.sip.media import CallMedia

_KEPT_MS: Final = 5_000
_KEPT_EVENTS: Final = 512
_FINISH_LIMIT_S: Final = 1.2

Told = Callable[[PhoneListener], None]


class CallControl(Protocol):
    """What signalling does for a leg."""

    async def end(self, reason: HangUpReason) -> None: ...

    async def transfer(self, target: str) -> None: ...


class SipLeg:
    """``PhoneLeg`` of one call. ``media`` is set once the call has it."""

    def __init__(self, info: CallInfo, control: CallControl) -> None:
        self.info = info
        self.rate_hz = 8_000
        self.can_transfer = True
        self.says_summary = False
        self.in_bites = False
        self._control = control
        self._media: CallMedia | None = None
        self._listener: PhoneListener | None = None
        self._kept: deque[tuple[Told, float]] = deque()
        self._kept_ms = 0.0
        self._held = False
        self._silent = anyio.Event()
        self.over: HangUpReason | None = None

    # --- PhoneLeg ---

    def listen(self, listener: PhoneListener) -> None:
        self._listener = listener
        while self._kept:
            told, _ = self._kept.popleft()
            told(listener)
        self._kept_ms = 0.0

    def play(self, samples: Samples, rate_hz: int) -> None:
        if self._media is not None and self._media.outbound is not None and self.over is None:
            self._media.outbound.queue.play(samples, rate_hz)

    def finish(self) -> None:
        """Nothing waits for more: every frame is sent as it is due."""

    def clear(self) -> None:
        if self._media is not None and self._media.outbound is not None:
            self._media.outbound.clear()

    async def hang_up(self, reason: HangUpReason) -> None:
        if self.over is None:
            with anyio.move_on_after(_FINISH_LIMIT_S):
                await self._until(lambda: self._said_all)
        await self._control.end(reason)

    async def transfer(self, target: str, summary: str | None = None) -> None:
        """By REFER: whoever takes the call hears no summary."""
        await self._control.transfer(target)

    @property
    def presses_keys(self) -> bool:
        """Whether the other side takes telephone-events (RFC 4733)."""
        outbound = None if self._media is None else self._media.outbound
        return outbound is not None and outbound.can_press

    async def send_digits(self, digits: str) -> None:
        outbound = None if self._media is None else self._media.outbound
        if outbound is None or self.over is not None:
            raise CallControlError("The call is over.")
        if not outbound.can_press:
            raise CallControlError("The other side of this call takes no key presses.")
        if not digits or any(digit not in KEYS for digit in digits.upper()):
            raise CallControlError("Keys are 0 to 9, *, # and A to D.")
        try:
            outbound.keys.press(digits)
        except ValueError as error:
            raise CallControlError("Too many keys are waiting to be pressed.") from error
        with anyio.move_on_after(0.25 * len(digits) + 2):
            await self._until(lambda: outbound.keys.idle)

    # --- what media and signalling tell ---

    def heard(self, samples: Samples, rate_hz: int) -> None:
        if self.over is not None:
            return
        if self._listener is not None:
            self._listener.heard(samples, rate_hz)
            return
        self._keep(lambda listener: listener.heard(samples, rate_hz), len(samples) * 1_000 / rate_hz)

    def key(self, key: str) -> None:
        if self.over is None:
            self._tell(lambda listener: listener.digit(key))

    def spoke(self, ms: int) -> None:
        if self._listener is not None and self.over is None:
            self._listener.played(ms)

    def silent(self) -> None:
        self._silent.set()

    def on_hold(self, on: bool) -> None:
        """The caller put the call on hold, or took it back; told when it changes."""
        if on != self._held and self.over is None:
            self._held = on
            self._tell(lambda listener: listener.held(on))

    def carry(self, media: CallMedia) -> None:
        """Where audio comes and goes."""
        self._media = media

    def tuned(self, rate_hz: int) -> None:
        """A codec was agreed on, which takes this rate without resampling."""
        self.rate_hz = rate_hz

    def ended(self, reason: HangUpReason) -> None:
        """The call is over; told once."""
        if self.over is None:
            self.over = reason
            self._silent.set()
            self._tell(lambda listener: listener.ended(reason))

    @property
    def _said_all(self) -> bool:
        outbound = None if self._media is None else self._media.outbound
        return outbound is None or outbound.queue.empty

    async def _until(self, done: Callable[[], bool]) -> None:
        """Wait for what is so, or for the end."""
        while self.over is None and not done():
            if self._silent.is_set():  # others may wait for it, too
                self._silent = anyio.Event()
            await self._silent.wait()

    def _tell(self, told: Told) -> None:
        if self._listener is not None:
            told(self._listener)
        else:
            self._keep(told, 0.0)

    def _keep(self, told: Told, ms: float) -> None:
        self._kept.append((told, ms))
        self._kept_ms += ms
        while self._kept_ms > _KEPT_MS or len(self._kept) > _KEPT_EVENTS:
            self._kept_ms -= self._kept.popleft()[1]
