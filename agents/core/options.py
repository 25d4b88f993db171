"""What a session is given: who talks with whom, how, and through which engines. Frozen values, built at the edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from agents.core.budget import LatencyBudget
from agents.core.draft_allowance import DraftAllowance
from agents.core.policy import TurnPolicy
from agents.core.spending import Spending
from agents.loop.agent import Agent
from agents.loop.brief import NO_BRIEF, Brief
from agents.loop.history import HistoryLimits
from agents.models.port import Message
from audio.endpoint.port import EndOfTurnModel
from audio.fallback import OnDegraded
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.port import SpeechToText
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import TextToSpeech
from audio.vad.port import VadOptions, VoiceActivityDetector
from metering.usage import Mode


@dataclass(frozen=True, slots=True)
class Identity:
    """To whom everything in the session is attributed; ``transport`` is how it came, where that is known.

    Of a telephone call, ``carrier`` is who carries it (``twilio``, ``sip``) and ``leg`` which way it went: its time is
    charged by the two. ``SoundMeter.calls`` is told who knows the time.
    """

    session_id: str
    tenant_id: str = "local"
    user_id: str = "local"
    mode: Mode = "embedded"
    transport: str | None = None
    carrier: str | None = None
    leg: Literal["inbound", "outbound"] | None = None


@dataclass(frozen=True, slots=True)
class StageLimits:
    """How long each stage may take before the session goes on without it, in seconds.

    First items and gaps are limited, never whole streams.
    """

    stt_open_s: float = 5.0
    model_first_event_s: float = 12.0
    model_gap_s: float = 8.0
    tts_first_audio_s: float = 6.0
    tts_gap_s: float = 6.0
    hint_s: float = 0.5
    durable_s: float = 10.0


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How one conversation is held. Replaced as a whole by ``Session.update``.

    ``listen`` false means a conversation in writing: nothing is heard or recognised. ``speak`` false means text only;
    ``output_rate_hz`` is the rate of the audio the client gets; ``voice`` and ``rate`` are the speaker's (``None`` for
    the agent's own). ``phrases`` are names and terms worth recognising. ``answers`` false means that speech is only
    written down. ``brief`` is what the client asks of the agent beyond that.

    ``hands_free`` false means that no voice activity is looked for: all audio belongs to one utterance until the
    client commits or clears it. ``budget`` bounds what the stages of each turn take (``None``: ``limits`` alone do);
    the policy's own times are what ``agents.core.budget.within`` makes of it. ``client_clears`` false is for clients
    that cannot be told to drop the audio they have: when the voice is held they play that to its end, and it goes on
    from there.
    """

    identity: Identity
    locale: str = "en-US"
    policy: TurnPolicy = field(default_factory=TurnPolicy)
    vad: VadOptions = field(default_factory=VadOptions)
    limits: StageLimits = field(default_factory=StageLimits)
    budget: LatencyBudget | None = None
    listen: bool = True
    speak: bool = True
    output_rate_hz: int = 24_000
    voice: str | None = None
    rate: float = 1.0
    partials: bool = True
    phrases: tuple[str, ...] = ()
    answers: bool = True
    greet: bool = True
    brief: Brief = NO_BRIEF
    hands_free: bool = True
    client_clears: bool = True


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """A reply the client asks for, and how it differs from the session's others.

    ``options`` are the session's with the changes made; ``messages`` are answered instead of the conversation. A
    reply that is not ``remembered`` leaves no trace in it.
    """

    options: SessionOptions
    messages: tuple[Message, ...] | None = None
    remembered: bool = True


@dataclass(frozen=True, slots=True)
class Engines:
    """Who does the work; ``None`` where a stage has nobody and the session degrades.

    ``make_detector`` gives each session its own voice-activity detector; the rest is shared by all sessions. ``names``
    are those of the stages whose engines have no profile to say it (``vad``, ``endpoint``), for the client to show.
    ``missing`` says for the user why a stage has nobody, where that is known. ``drafts`` is how much drafts may
    still waste (``None``: without bound). ``spending`` is asked before anything is spent (``None``: nobody is), and
    ``thrifty`` are the cheapest of these engines, for when it says so.
    """

    agent: Agent
    stt: SpeechToText | None = None
    tts: TextToSpeech | None = None
    end_of_turn: EndOfTurnModel | None = None
    make_detector: Callable[[VadOptions], VoiceActivityDetector] | None = None
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    missing: Mapping[Literal["stt", "tts"], str] = field(default_factory=dict[Literal["stt", "tts"], str])
    drafts: DraftAllowance | None = None
    spending: Spending | None = None
    thrifty: Engines | None = None

    @property
    def history_limits(self) -> HistoryLimits:
        """How much of a conversation the agent's model takes."""
        spec, profile = self.agent.spec, self.agent.profile
        return HistoryLimits.for_context(profile.context_tokens, spec.instructions, spec.max_output_tokens)

    @property
    def cheaper(self) -> Engines | None:
        """The cheapest of these, once ``spending`` says that a session is to have those for the rest of it; what
        concerns the session stays."""
        if self.thrifty is None or self.spending is None or not self.spending.thrifty:
            return None
        return replace(self.thrifty, drafts=self.drafts, spending=self.spending, thrifty=None)

    def for_session(self, on_degraded: OnDegraded) -> Engines:
        """The same engines, telling this session when another has to step in."""
        agent, stt, tts = self.agent.for_session(on_degraded), self.stt, self.tts
        if isinstance(stt, FallbackSpeechToText):
            stt = stt.for_session(on_degraded)
        if isinstance(tts, FallbackTextToSpeech):
            tts = tts.for_session(on_degraded)
        thrifty = None if self.thrifty is None else self.thrifty.for_session(on_degraded)
        return replace(self, agent=agent, stt=stt, tts=tts, thrifty=thrifty)
