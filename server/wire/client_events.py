"""What a client asked for, whatever protocol it speaks: the closed union every wire codec yields.

Values only. A transport reads them from its codec's ``feed`` and calls the session; nothing here knows how they came
over the wire. ``turn_id`` is ``None`` where the client means the turn in progress.
"""

from __future__ import annotations

from dataclasses import dataclass

from metering.usage import Mode
from server.contracts.latency_budget import LatencyBudgetSettings
from server.contracts.session import VoiceSettings


@dataclass(frozen=True, slots=True)
class VoiceStart:
    """Begin a voice session. ``request_id`` is the client's name for it, if it gave one."""

    settings: VoiceSettings
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class AudioIn:
    """The next bytes of the user's audio, in the session's input format. They may be empty."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """End the user's turn now."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the agent's reply, heard or not."""

    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """The client has played the turn's audio up to ``audio_ms``."""

    audio_ms: int
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the session."""


@dataclass(frozen=True, slots=True)
class Update:
    """Change the session. ``settings`` are whole: ``before``, with the changes merged in."""

    settings: VoiceSettings
    before: VoiceSettings


@dataclass(frozen=True, slots=True)
class ChatStart:
    """Answer a written prompt. ``agent_id``, ``mode`` and ``latency_budget`` count on the chat socket only."""

    prompt: str
    request_id: str | None = None
    agent_id: str | None = None
    mode: Mode | None = None
    model_hint: str | None = None
    latency_budget: LatencyBudgetSettings | None = None


@dataclass(frozen=True, slots=True)
class ChatCancel:
    """Stop the answer to a written prompt."""

    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with a session after a lost connection, from the event after ``last_event_id``."""

    session_id: str
    last_event_id: int


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether to go on although a budget is nearly used up."""

    given: bool


ClientEvent = (
    VoiceStart | AudioIn | Commit | Cancel | Played | Stop | Update | ChatStart | ChatCancel | Consent | Resume
)
