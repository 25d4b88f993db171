"""What a conversation tells its client: the closed union of server events.

Owned by the conversation, encoded by ``server.wire``. Every event that belongs to a turn carries its ``turn_id``
(the contract's ``request_id``); audio travels as raw samples in the session's output rate, and encoding is the
wire's business. Milliseconds are whole and count from the start of the session's audio unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agents.latency_events import BudgetBreached, TurnLatency
from agents.models.port import FilteredCategory
from audio.formats import Samples


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The session is ready to hear. ``capabilities`` names the engines that answer, by stage."""

    session_id: str
    agent_id: str
    capabilities: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SessionDraining:
    """The server is going away: finish, then reconnect elsewhere within ``grace_ms``."""

    grace_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStartedHeard:
    """``vad.speech_started``: the user began to speak at ``at_ms``, ``ago_ms`` of audio before it was certain."""

    utterance_id: int
    at_ms: int
    ago_ms: int = 0


@dataclass(frozen=True, slots=True)
class SpeechStoppedHeard:
    """``vad.speech_stopped``: the user's last speech sample was at ``at_ms``. The turn may still go on."""

    utterance_id: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """An utterance came to nothing: no words, or a sound that was none. Nobody will answer it."""

    utterance_id: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class InputCommitted:
    """The client ended an utterance by hand; its transcript follows."""

    utterance_id: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class InputFailed:
    """What the user said in this utterance could not be recognised, and is not part of the conversation."""

    utterance_id: int
    message: str


@dataclass(frozen=True, slots=True)
class RecordingTranscribed:
    """The words of a recording that the client put into the conversation; ``None`` where it could not be read."""

    item_id: str
    text: str | None
    audio_ms: int


@dataclass(frozen=True, slots=True)
class LongSilence:
    """Nobody said anything for long; the agent speaks up in turn ``turn_id``."""

    turn_id: str
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class TranscriptUpdated:
    """``transcript.partial`` or ``transcript.final``: what the user has said, whole, so far.

    A final one says that the words are part of the conversation now; ``turn_id`` is the turn that answers them,
    ``None`` where nobody does unless asked. A ``corrected`` one comes later and takes the place of the one before.
    """

    utterance_id: int
    text: str
    final: bool
    start_ms: int
    end_ms: int
    turn_id: str | None = None
    language: str | None = None
    confidence: float | None = None
    corrected: bool = False


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The user's turn is certain; the agent answers ``text``. ``source`` says how it came."""

    turn_id: str
    text: str
    source: Literal["speech", "text", "announcement", "request", "idle"]


@dataclass(frozen=True, slots=True)
class ReplyText:
    """``chat.token``: the next piece of the agent's text, as it is generated."""

    turn_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AudioOut:
    """``voice.audio``: the next stretch of the agent's speech.

    ``samples`` are in the session's output rate; ``start_ms`` is the position in the turn's audio (after a resume it
    steps back to what was heard).
    """

    turn_id: str
    samples: Samples
    sample_rate_hz: int
    start_ms: int


@dataclass(frozen=True, slots=True)
class MouthShape:
    """A mouth shape from ``at_ms`` of the turn's audio on; ``viseme_id`` is the voice's own number for it."""

    viseme_id: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class VisemesOut:
    """``voice.visemes``: the mouth shapes of the audio that comes next. After a resume they are told again with it."""

    turn_id: str
    visemes: tuple[MouthShape, ...]


@dataclass(frozen=True, slots=True)
class AudioOutEnded:
    """All audio of the turn has been sent; ``audio_ms`` is its length. Playing it may take a little longer."""

    turn_id: str
    audio_ms: int


@dataclass(frozen=True, slots=True)
class Caption:
    """``caption``: a stretch of speech as text. User captions count session ms, agent captions turn-audio ms.

    ``only``: these words come no other way, neither spoken nor as the reply's text; they go to clients without
    captions, too.
    """

    speaker: Literal["user", "agent"]
    text: str
    start_ms: int
    end_ms: int
    final: bool
    turn_id: str | None = None
    only: bool = False


@dataclass(frozen=True, slots=True)
class Interrupted:
    """``voice.interrupted``: stop playing now and drop what is buffered.

    The user heard ``heard_ms`` of the turn's audio, ``heard_text`` in words. ``resumable`` means the reply is only
    held: it either goes on (``Resumed``) or is dropped (another ``Interrupted``, not resumable).
    """

    turn_id: str
    heard_ms: int
    heard_text: str
    resumable: bool


@dataclass(frozen=True, slots=True)
class Resumed:
    """``voice.resumed``: it was no interruption; audio goes on from ``from_ms`` of the turn."""

    turn_id: str
    from_ms: int


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """``tool.call``: the agent runs a tool."""

    turn_id: str
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ClientToolCalled:
    """The agent wants a tool of the client's: the turn ends, and the client brings the result."""

    turn_id: str
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """``tool.result``: it came back, or failed with ``error``."""

    turn_id: str
    call_id: str
    name: str
    output: str
    error: bool


@dataclass(frozen=True, slots=True)
class Degraded:
    """``degraded``: something gave way to something lesser, and why, in a human sentence."""

    from_: str
    to: str
    reason: str


BudgetScope = Literal["tenant", "user", "global"]
BudgetPeriod = Literal["daily", "monthly"]
BudgetConsent = Literal["needed", "given", "policy"]


@dataclass(frozen=True, slots=True)
class BudgetWarned:
    """``budget.warning``: of a budget so much is used, and whether the conversation goes on all the same.

    ``consent`` is ``needed`` where the user is asked, ``given`` once they said yes, ``policy`` where their tenant has
    said so for them.
    """

    scope: BudgetScope
    period: BudgetPeriod
    used_percent: int
    message: str
    consent: BudgetConsent = "policy"


@dataclass(frozen=True, slots=True)
class ContentFiltered:
    """``content.filtered``: the model's provider refused what was asked (``prompt``) or answered (``completion``).

    What came of the answer so far is taken back; a refusal in the session's language follows as the turn's text.
    """

    turn_id: str
    stage: Literal["prompt", "completion"]
    categories: tuple[FilteredCategory, ...] = ()


@dataclass(frozen=True, slots=True)
class TurnUsage:
    """What a turn consumed, as the client is told it. Milliseconds come from sample counts."""

    input_tokens: int = 0
    output_tokens: int = 0
    tool_calls: int = 0
    audio_ms_in: int = 0
    audio_ms_out: int = 0
    cached_input_tokens: int = 0


CallOperation = Literal["chat", "execute_tool", "text_to_speech"]
CallEnd = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One request a turn made of an engine or a tool, for whoever watches the server; clients are not told.

    Times are seconds of the event loop's clock; ``first_at_s`` is when the first of the answer came, where that is
    known. A tool's ``model`` is its name. ``stopped`` calls were no longer wanted: the turn was interrupted.
    """

    operation: CallOperation
    provider: str
    model: str
    started_at_s: float
    ended_at_s: float
    first_at_s: float | None = None
    end: CallEnd = "finished"
    error_code: str | None = None
    finish_reason: str | None = None
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0


TurnEnd = Literal["finished", "tools", "interrupted", "cancelled", "length", "filtered", "failed"]
"""How a turn ended: all was said; the client's tools are awaited; the user spoke; the client stopped it; the token
limit or a content filter cut it; or it failed."""


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """``chat.complete``: the turn is over and its usage event is durable."""

    turn_id: str
    text: str
    interrupted: bool
    usage: TurnUsage = field(default_factory=TurnUsage)
    error_code: str | None = None
    end: TurnEnd = "finished"
    calls: tuple[ProviderCall, ...] = ()


@dataclass(frozen=True, slots=True)
class AudioQuality:
    """``audio.quality``: something is wrong with the microphone (``issue``), with the measures that say so."""

    issue: Literal["too_quiet", "clipping", "dc_offset", "silence"]
    message: str
    measures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Failed:
    """``error``: a stable code (docs/contracts), a human sentence, and whether trying again may help."""

    code: str
    message: str
    retryable: bool
    turn_id: str | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ProtocolReply:
    """The edge's own answer to its client, in order with everything else. Only the codec that made it reads it."""

    body: Mapping[str, Any]


DirectedEvent = (
    SpeechDropped | InputCommitted | InputFailed | RecordingTranscribed | LongSilence | ClientToolCalled | ProtocolReply
)
"""What only clients that direct the conversation themselves have a word for."""

ServerEvent = (
    SessionStarted
    | SessionDraining
    | SpeechStartedHeard
    | SpeechStoppedHeard
    | TranscriptUpdated
    | TurnStarted
    | ReplyText
    | AudioOut
    | VisemesOut
    | AudioOutEnded
    | Caption
    | Interrupted
    | Resumed
    | ToolCalled
    | ToolReturned
    | BudgetBreached
    | TurnLatency
    | Degraded
    | BudgetWarned
    | ContentFiltered
    | TurnCompleted
    | AudioQuality
    | Failed
    | DirectedEvent
)
