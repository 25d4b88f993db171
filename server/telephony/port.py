"""A telephone call as a conversation sees it: who calls whom, a voice to speak with, an ear, and the handset.

The seam between what carries a call (a stream of a telephony service, SIP) and the conversation held over it. A
carrier makes a ``PhoneLeg`` and hands it to ``server.telephony.conversation``; neither knows more of the other. Samples
are mono int16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from audio.formats import Samples
from server.sessions.media import VoiceSink

CallDirection = Literal["inbound", "outbound"]
HangUpReason = Literal["caller", "agent", "limit", "lost", "refused", "failed", "draining"]
"""Who or what ended a call."""


class CallControlError(Exception):
    """The carrier cannot do that to this call, or failed to; the message is a sentence for the agent."""


@dataclass(frozen=True, slots=True)
class CallInfo:
    """One call. Numbers are as the carrier gave them (E.164 or a SIP URI), empty where they were withheld.

    ``carrier`` is a short name such as ``twilio`` or ``sip``; ``carrier_call_id`` the carrier's own name of the call.
    ``parameters`` are what the carrier was told to hand over with it. Numbers are personal data: masked in logs.
    """

    call_id: str
    carrier: str
    carrier_call_id: str
    direction: CallDirection
    caller: str = ""
    callee: str = ""
    parameters: dict[str, str] = field(default_factory=dict[str, str])


class PhoneListener(Protocol):
    """What a leg tells whoever converses over it. All methods return at once."""

    def heard(self, samples: Samples, rate_hz: int) -> None:
        """The next of the caller's voice, in order and without gaps."""
        ...

    def digit(self, digit: str) -> None:
        """A key was pressed: one of ``0123456789*#ABCD``."""
        ...

    def played(self, heard_ms: int) -> None:
        """So much of what was played since the last ``clear`` has been heard, where the carrier tells it."""
        ...

    def held(self, on: bool) -> None:
        """The caller put the call on hold, or took it back."""
        ...

    def ended(self, reason: HangUpReason) -> None:
        """The call is over; nothing else follows."""
        ...


class PhoneLeg(VoiceSink, Protocol):
    """One call's way to the caller. ``play``, ``finish`` and ``clear`` are a ``VoiceSink``'s."""

    info: CallInfo
    rate_hz: int
    """The rate of the agent's voice the carrier takes without resampling."""
    can_transfer: bool
    """Whether the carrier transfers calls at all."""
    says_summary: bool
    """Whether whoever takes a transferred call is told the summary by the carrier."""
    in_bites: bool
    """Whether the caller's voice comes in longer pieces already, while the event loop is busy."""

    @property
    def presses_keys(self) -> bool:
        """Whether keys can be pressed towards the other side."""
        ...

    def listen(self, listener: PhoneListener) -> None:
        """Begin to tell this listener; what came before is told first."""
        ...

    async def hang_up(self, reason: HangUpReason) -> None:
        """End the call, after what was played; within two seconds."""
        ...

    async def transfer(self, target: str, summary: str | None = None) -> None:
        """Connect the caller with ``target`` (E.164 or a SIP URI) and leave. Raises CallControlError.

        ``summary`` is said to whoever takes the call first, where the carrier can do that (a warm transfer); others
        leave it out. A ``hang_up`` that follows lets go of the call and does not end it.
        """
        ...

    async def send_digits(self, digits: str) -> None:
        """Press keys, as a caller would. Raises CallControlError."""
        ...
