"""What a client may say on ``/v1/voice/ws`` and ``/v1/ws`` (contract section 3), as pydantic models.

Every message has ``type``; ``request_id`` and ``timestamp_ms`` are the client's own and optional, unless said
otherwise. Parsed by ``server.wire.voice_json``; published by ``server.contracts.generate``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from metering.usage import Mode
from server.contracts.base import AgentId, ClientId, Contract, Count, Milliseconds, ServerId
from server.contracts.latency_budget import LatencyBudgetSettings
from server.contracts.session import Accessibility, OutputFields, TurnDetectionFields, VoiceSettings


class ClientMessage(Contract):
    """What every client message may carry."""

    request_id: ClientId | None = None
    timestamp_ms: Milliseconds | None = None
    """The client's clock, epoch milliseconds. Recorded, never relied on."""


class VoiceStartMessage(ClientMessage, VoiceSettings):
    """Begin a voice session; the first message on the voice socket. Answered by `session.started`."""

    type: Literal["voice.start"] = "voice.start"


class VoiceChunkMessage(ClientMessage):
    """The next stretch of the user's audio. With `binary`, a bare binary frame says the same."""

    type: Literal["voice.chunk"] = "voice.chunk"
    bytes_base64: Annotated[
        str, Field(json_schema_extra={"contentEncoding": "base64"}, pattern=r"^[A-Za-z0-9+/]*={0,2}$")
    ]
    """The encoded audio, in standard base64."""


class VoiceCommitMessage(ClientMessage):
    """The user's turn ends here (push-to-talk), or at once (automatic turns)."""

    type: Literal["voice.commit"] = "voice.commit"


class VoiceCancelMessage(ClientMessage):
    """Stop the agent's reply. `request_id` names the turn; absent: the one in progress."""

    type: Literal["voice.cancel"] = "voice.cancel"


class VoicePlayedMessage(ClientMessage):
    """What the user has really heard. `request_id` names the turn; absent: the one in progress."""

    type: Literal["voice.played"] = "voice.played"
    audio_ms: Milliseconds
    """Audio of the turn played so far, from its beginning."""


class VoiceStopMessage(ClientMessage):
    """End the session. The server finishes what is due and closes with 1000."""

    type: Literal["voice.stop"] = "voice.stop"


class VoiceUpdateMessage(ClientMessage):
    """Change a running session. Fields that are absent, at any depth, stay as they are."""

    type: Literal["voice.update"] = "voice.update"
    turn_detection: TurnDetectionFields | None = None
    output: OutputFields | None = None
    """Not the codec nor the sample rate: these are fixed by `voice.start`."""
    accessibility: Accessibility | None = None
    latency_budget: LatencyBudgetSettings | None = None
    """What is permitted is counted from the operator's budget, not from the one before. `null`: the operator's."""


class ChatStartMessage(ClientMessage):
    """Ask in writing. `request_id`, where given, becomes the turn's."""

    type: Literal["chat.start"] = "chat.start"
    prompt: Annotated[str, StringConstraints(min_length=1, max_length=32_000)]
    """What the user says, in writing."""
    agent_id: AgentId | None = None
    """Who answers. Absent: the server's default agent. On the voice socket only the session's own."""
    mode: Mode | None = None
    """Whose provider keys are used. Absent: the tenant's default lane. Ignored on the voice socket."""
    model_hint: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """A wish, not an order: the model the client would like."""
    latency_budget: LatencyBudgetSettings | None = None
    """How long this answer and those after it may take. Ignored on the voice socket: `voice.update` says it there."""


class ChatCancelMessage(ClientMessage):
    """Stop the answer. `request_id` names the turn; absent: the one in progress."""

    type: Literal["chat.cancel"] = "chat.cancel"


class BudgetConsentMessage(ClientMessage):
    """Whether the conversation is to go on after a `budget.warning` that asks. The user may also say it."""

    type: Literal["budget.consent"] = "budget.consent"
    consent: bool = True


class SessionResumeMessage(ClientMessage):
    """Go on with a session after a lost connection; the first message on the new socket."""

    type: Literal["session.resume"] = "session.resume"
    session_id: ServerId
    """As `session.started` gave it."""
    last_event_id: Count
    """The last `event_id` the client saw (0: none). With `binary`, each binary frame counts as one event."""


AnyClientMessage = Annotated[
    VoiceStartMessage
    | VoiceChunkMessage
    | VoiceCommitMessage
    | VoiceCancelMessage
    | VoicePlayedMessage
    | VoiceStopMessage
    | VoiceUpdateMessage
    | ChatStartMessage
    | ChatCancelMessage
    | BudgetConsentMessage
    | SessionResumeMessage,
    Field(discriminator="type"),
]
"""Every message a client may send."""
