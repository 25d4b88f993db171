"""A telephone call without a carrier, for tests: keeps what was played, and lets a test be the caller."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from audio.codecs.resample import StreamResampler
from audio.formats import HEARING_RATE_HZ, Samples
from server.telephony.port import CallControlError, CallInfo, HangUpReason, PhoneListener


def call_info(**changes: object) -> CallInfo:
    """A call from a number in a book."""
    given: dict[str, object] = {
        "call_id": "call_1",
        "carrier": "test",
        "carrier_call_id": "T1",
        "direction": "inbound",
        "caller": "+15550100123",
        "callee": "+15550100999",
    }
    return CallInfo(**{**given, **changes})  # type: ignore[arg-type]


@dataclass
class TestLeg:
    """``PhoneLeg`` at 8 kHz."""

    __test__ = False

    info: CallInfo = field(default_factory=call_info)
    rate_hz: int = 8_000
    can_transfer: bool = True
    says_summary: bool = True
    presses_keys: bool = True
    in_bites: bool = False
    press_fails: bool = False
    transfer_fails: bool = False
    played: list[Samples] = field(default_factory=list)
    rates: set[int] = field(default_factory=set)
    finished: int = 0
    cleared: int = 0
    hung_up: list[HangUpReason] = field(default_factory=list)
    transfers: list[tuple[str, str | None]] = field(default_factory=list)
    digits: str = ""
    listener: PhoneListener | None = None

    def play(self, samples: Samples, rate_hz: int) -> None:
        self.played.append(samples)
        self.rates.add(rate_hz)

    def finish(self) -> None:
        self.finished += 1

    def clear(self) -> None:
        self.cleared += 1

    def listen(self, listener: PhoneListener) -> None:
        self.listener = listener

    async def hang_up(self, reason: HangUpReason) -> None:
        self.hung_up.append(reason)

    async def transfer(self, target: str, summary: str | None = None) -> None:
        if self.transfer_fails:
            raise CallControlError("busy")
        self.transfers.append((target, summary))

    async def send_digits(self, digits: str) -> None:
        if self.press_fails:
            raise CallControlError("busy")
        self.digits += digits

    # --- the caller ---

    @property
    def played_ms(self) -> int:
        return sum(map(len, self.played)) * 1_000 // self.rate_hz

    def say(self, samples: Samples) -> None:
        """16 kHz samples, as a line at 8 kHz carries them, 20 ms at a time."""
        assert self.listener is not None
        narrow = StreamResampler(HEARING_RATE_HZ, 8_000).process(samples)
        for at in range(0, len(narrow), 160):
            self.listener.heard(np.ascontiguousarray(narrow[at : at + 160]), 8_000)
