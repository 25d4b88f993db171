"""What the server says on ``/v1/voice/ws`` and ``/v1/ws`` (contract section 3), as pydantic models.

They mirror the closed union in ``agents.events``, which ``server.wire.voice_json`` encodes without them (a test holds
the two together). Positions count milliseconds of audio from the start of the session, or of the turn's audio where
the field says so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from server.contracts.base import Contract, Count, Milliseconds, ServerId
from server.contracts.errors import ErrorCode
from server.contracts.latency_budget import LatencyBudgetName
from server.contracts.session import Codec, SampleRate

StageName = Literal["endpoint", "stt", "agent", "tts", "egress", "total"]
BreachAction = Literal[
    "use_partial", "hedge", "fallback", "filler", "shorten", "text_only", "apologize", "fail", "none"
]


class ServerMessage(Contract):
    """What every server message carries."""

    event_id: Annotated[int, Field(ge=1, le=2**53 - 1)]
    """Rises by one with every event. With `binary`, a binary frame counts as one event."""
    request_id: ServerId
    """The turn this belongs to; outside a turn, the `request_id` of `voice.start`, or the connection's."""
    timestamp_ms: Milliseconds
    """The server's clock, epoch milliseconds."""


class WireFormat(Contract):
    """How audio travels in one direction."""

    codec: Codec
    sample_rate: SampleRate


class SessionStartedMessage(ServerMessage):
    """The session is ready to hear."""

    type: Literal["session.started"] = "session.started"
    session_id: ServerId
    agent_id: str
    capabilities: dict[str, str]
    """The engine at work, by stage (`vad`, `endpoint`, `stt`, `llm`, `tts`); a stage without one is left out."""
    input: WireFormat | None = None
    """The user's audio. Absent on the chat socket."""
    output: WireFormat | None = None
    """The agent's audio. Absent on the chat socket."""
    binary: bool = False
    """Whether audio travels as bare binary frames."""
    latency_budget: LatencyBudgetName | None = None
    """How long its turns may take, by name: `GET /v1/latency-budgets` tells the rest."""


class SessionResumedMessage(ServerMessage):
    """The session goes on. The events kept since follow as they were, then new ones.

    Its `event_id` takes no number of its own: it is the one before the first event that follows.
    """

    type: Literal["session.resumed"] = "session.resumed"
    event_id: Count
    session_id: ServerId
    missed_events: Count
    """Events that were too old to be kept and are lost."""


class SessionDrainingMessage(ServerMessage):
    """The server is going away: finish, then connect again (elsewhere) within `grace_ms`."""

    type: Literal["session.draining"] = "session.draining"
    grace_ms: Milliseconds


class SpeechStartedMessage(ServerMessage):
    """The user began to speak at `at_ms` of the session."""

    type: Literal["vad.speech_started"] = "vad.speech_started"
    utterance_id: Count
    at_ms: Milliseconds


class SpeechStoppedMessage(ServerMessage):
    """The user's last speech sample was at `at_ms` of the session. The turn may still go on."""

    type: Literal["vad.speech_stopped"] = "vad.speech_stopped"
    utterance_id: Count
    at_ms: Milliseconds


class _Transcript(ServerMessage):
    utterance_id: Count
    text: str
    """The whole utterance so far, not a difference."""
    start_ms: Milliseconds
    end_ms: Milliseconds
    language: str | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


class TranscriptPartialMessage(_Transcript):
    """What the user seems to have said so far. May change."""

    type: Literal["transcript.partial"] = "transcript.partial"


class TranscriptFinalMessage(_Transcript):
    """What the user said. A `corrected` one takes the place of the one before with the same `utterance_id`."""

    type: Literal["transcript.final"] = "transcript.final"
    corrected: bool = False
    """Recognition learnt better, up to some seconds later. Where the words mean something else and nothing of the reply
    was heard, the reply in the making was ended (`voice.interrupted`, `chat.complete`) and `request_id` is the turn
    that answers them instead; else `request_id` is the turn it was before, and that reply goes on."""


class TurnStartedMessage(ServerMessage):
    """The user's turn is certain; the agent answers `text`. `request_id` is the turn's from here on."""

    type: Literal["turn.started"] = "turn.started"
    text: str
    """What the user said; for an announcement, what the agent says."""
    source: Literal["speech", "text", "announcement", "request", "idle"]


class ChatTokenMessage(ServerMessage):
    """The next piece of the agent's text, as it is generated."""

    type: Literal["chat.token"] = "chat.token"
    text: str


class VoiceAudioMessage(ServerMessage):
    """The next stretch of the agent's speech.

    With `binary` it comes without `bytes_base64` and says where the binary frames after it belong: sent before a
    turn's first one and whenever the position jumps.
    """

    type: Literal["voice.audio"] = "voice.audio"
    bytes_base64: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})] | None = None
    audio_ms: Milliseconds
    """Length of this audio; 0 where there is none in this message."""
    start_ms: Milliseconds
    """Its position in the turn's audio."""


class VisemeItem(Contract):
    """A mouth shape, from `at_ms` of the turn's audio on."""

    viseme_id: Count
    """The voice's own number: of Azure's voices 0 (silence) to 21."""
    at_ms: Milliseconds


class VoiceVisemesMessage(ServerMessage):
    """The mouth shapes of the audio that follows. After `voice.resumed` they come again, with their audio."""

    type: Literal["voice.visemes"] = "voice.visemes"
    visemes: tuple[VisemeItem, ...]
    """Each `{viseme_id, at_ms}`, in order."""


class VoiceAudioDoneMessage(ServerMessage):
    """All audio of the turn has been sent. Playing it may take a little longer."""

    type: Literal["voice.audio.done"] = "voice.audio.done"
    audio_ms: Milliseconds
    """Length of the turn's audio."""


class CaptionMessage(ServerMessage):
    """A stretch of speech as text. The user's count session time, the agent's the turn's audio."""

    type: Literal["caption"] = "caption"
    speaker: Literal["user", "agent"]
    text: str
    start_ms: Milliseconds
    end_ms: Milliseconds
    final: bool


class VoiceInterruptedMessage(ServerMessage):
    """Stop playing now and drop what is buffered."""

    type: Literal["voice.interrupted"] = "voice.interrupted"
    heard_ms: Milliseconds
    """Audio of the turn the user heard."""
    heard_text: str
    """The same in words; what the agent will remember having said."""
    resumable: bool
    """The reply is only held: `voice.resumed` follows, or another `voice.interrupted` that is final."""


class VoiceResumedMessage(ServerMessage):
    """It was no interruption: audio goes on from `from_ms` of the turn."""

    type: Literal["voice.resumed"] = "voice.resumed"
    from_ms: Milliseconds


class ToolCallMessage(ServerMessage):
    """The agent runs a tool."""

    type: Literal["tool.call"] = "tool.call"
    call_id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it."""


class ToolResultMessage(ServerMessage):
    """The tool came back, or failed."""

    type: Literal["tool.result"] = "tool.result"
    call_id: str
    name: str
    output: str
    error: bool
    """It failed; `output` says how."""


class StageLatencyItem(Contract):
    """One stage of a turn, from the last speech sample (or the text's arrival)."""

    stage: StageName
    start_ms: float
    duration_ms: Annotated[float, Field(ge=0)]
    provider: str | None = None
    target_ms: int | None = None
    """What the session's budget aims at, and"""
    deadline_ms: int | None = None
    """what it permits; both absent where nothing is enforced."""


class BreachItem(Contract):
    """A stage that took longer than its budget."""

    stage: StageName | Literal["connect", "barge_in"]
    action: BreachAction
    """What was done about it; `none` where nothing was to be done."""
    limit_ms: int
    after_ms: int
    """When it was done, or how long the stage took; from the stage's beginning."""


class LatencyBreachMessage(ServerMessage, BreachItem):
    """A stage of the turn is late, and this is done about it. Sent as it happens, once for each stage."""

    type: Literal["latency.breach"] = "latency.breach"


class TurnLatencyMessage(ServerMessage):
    """Where the milliseconds went; sent once the first audio (or text) is out."""

    type: Literal["turn.latency"] = "turn.latency"
    stages: tuple[StageLatencyItem, ...]
    """Each `{stage, start_ms, duration_ms, provider?, target_ms?, deadline_ms?}`, from the last speech sample on."""
    breaches: tuple[BreachItem, ...] = ()
    """What was late until now."""


class DegradedMessage(ServerMessage):
    """Something gave way to something lesser, and why."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    type: Literal["degraded"] = "degraded"
    from_: Annotated[str, Field(alias="from")]
    to: str
    reason: str


class FilteredCategoryItem(Contract):
    """What a content filter objected to."""

    name: str
    """The provider's word for it, such as `violence`, `self_harm` or `jailbreak`."""
    severity: str | None = None
    """How severe, where the category has degrees: `low`, `medium`, `high`."""


class ContentFilteredMessage(ServerMessage):
    """The model's provider refused to answer. Take back what you show of this turn: a refusal follows as its text."""

    type: Literal["content.filtered"] = "content.filtered"
    stage: Literal["prompt", "completion"]
    """Whether what was asked is refused, or what was being answered."""
    categories: tuple[FilteredCategoryItem, ...]
    """Each `{name, severity?}`; never the text. Empty where the provider does not say."""


class BudgetWarningMessage(ServerMessage):
    """A budget is nearly used up."""

    type: Literal["budget.warning"] = "budget.warning"
    scope: Literal["tenant", "user", "global"]
    """Whose budget it is."""
    period: Literal["daily", "monthly"]
    used_percent: Count
    message: str
    """For people, in the session's language."""
    consent: Literal["needed", "given", "policy"] | None = None
    """`needed`: no answer comes before the user says yes, or the client sends `budget.consent`. `given`: they did.
    `policy`: the tenant's policy goes on without asking."""


class UsageSummary(Contract):
    """What a turn consumed. Seconds come from sample counts and have up to three decimals."""

    in_tokens: Count = 0
    out_tokens: Count = 0
    tool_calls: Count = 0
    audio_in_s: Annotated[float, Field(ge=0)] = 0.0
    audio_out_s: Annotated[float, Field(ge=0)] = 0.0


class ChatCompleteMessage(ServerMessage):
    """The turn is over and its usage is recorded."""

    type: Literal["chat.complete"] = "chat.complete"
    text: str
    """The answer; after an interruption, what was heard of it."""
    interrupted: bool = False
    usage: UsageSummary = UsageSummary()
    """What it consumed: `{in_tokens, out_tokens, tool_calls, audio_in_s, audio_out_s}`."""
    error_code: ErrorCode | None = None
    """Why the turn failed, where it did."""


class AudioQualityMessage(ServerMessage):
    """Something is wrong with the microphone."""

    type: Literal["audio.quality"] = "audio.quality"
    issue: Literal["too_quiet", "clipping", "dc_offset", "silence"]
    message: str
    """For people: what to do about it."""
    measures: dict[str, float]
    """The numbers that say so."""


class ErrorMessage(ServerMessage):
    """Something failed. The socket stays open, unless a close code follows."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    """For people; may change."""
    retryable: bool
    """Whether the same request may succeed later."""
    details: dict[str, Any] | None = None
    """`field`: the path of the field at fault. `retry_after_s`: how long to wait."""


AnyServerMessage = Annotated[
    SessionStartedMessage
    | SessionResumedMessage
    | SessionDrainingMessage
    | SpeechStartedMessage
    | SpeechStoppedMessage
    | TranscriptPartialMessage
    | TranscriptFinalMessage
    | TurnStartedMessage
    | ChatTokenMessage
    | VoiceAudioMessage
    | VoiceVisemesMessage
    | VoiceAudioDoneMessage
    | CaptionMessage
    | VoiceInterruptedMessage
    | VoiceResumedMessage
    | ToolCallMessage
    | ToolResultMessage
    | LatencyBreachMessage
    | TurnLatencyMessage
    | DegradedMessage
    | ContentFilteredMessage
    | BudgetWarningMessage
    | ChatCompleteMessage
    | AudioQualityMessage
    | ErrorMessage,
    Field(discriminator="type"),
]
"""Every message the server sends."""
