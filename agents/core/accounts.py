"""What a turn consumed, gathered while it runs and turned into its usage event when it ends.

Integers only; durations come from sample counts. The wall clock is read by the caller and only dates the event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agents.call_log import CallLog
from agents.core.attribution import Attribution
from agents.core.options import Engines, Identity
from agents.core.sound_meter import Sound, SoundMeter
from agents.events import TurnUsage
from agents.latency_events import StageLatency
from agents.models.port import ModelProfile, Overtaken, TokenUsage
from audio.fallback import Maker
from audio.tts.port import SpeechAudio, TtsProfile
from metering.identity import event_id
from metering.usage import ProviderShare, StageProvider, UsageEvent

NO_BREACHES: Final[Mapping[str, str]] = {}


@dataclass(slots=True)
class TurnAccount:
    """The running account of one turn; owned by the turn. ``tokens`` are all that its models took, whose answer was
    used or not; ``audio_ms_replayed`` is the length of speech that is said first and was counted when it was made;
    ``drafted_calls`` are tools that ran for drafts which came to nothing."""

    turn_id: str
    agent_id: str
    started_at: int
    providers: dict[str, StageProvider] = field(default_factory=dict[str, StageProvider])
    audio_ms_in: int = 0
    audio_ms_out: int = 0
    audio_ms_synthesized: int = 0
    audio_ms_replayed: int = 0
    tts_characters: int = 0
    tokens: TokenUsage = field(default_factory=TokenUsage)
    speculative_tokens: int = 0
    overtaken_tokens: int = 0
    hedged_tokens: int = 0
    tool_calls: int = 0
    tool_ms: int = 0
    drafted_calls: int = 0
    drafts_estimated: bool = False
    sound: Sound = field(default_factory=Sound)
    meter: SoundMeter | None = None
    interrupted: bool = False
    error_code: str | None = None
    work: Attribution = field(default_factory=Attribution)
    own_key: bool = False
    """A model was asked with the tenant's own key."""

    def name_providers(self, engines: Engines, *, answers: bool, speaks: bool) -> None:
        """Who is asked first: for an answer, where one is to be found, and for a voice, where it ``speaks``."""
        if answers:
            self.own_key = engines.agent.profile.own
            self.providers["agent"] = StageProvider(engines.agent.profile.provider, engines.agent.profile.model)
        if engines.tts is not None and speaks:
            self.providers["tts"] = StageProvider(engines.tts.profile.provider, engines.tts.profile.model)

    def asked_voice(self, characters: int, more: bool) -> None:
        """So much text was given to a voice, ``more`` of what it was given before."""
        self.tts_characters += characters
        self.work.asked(characters, more=more)

    def said(self, heard_ms: int, there_ms: int) -> None:
        """Of the turn's audio the user heard so much, of so much that there was to be said. Where it ended within what
        was replayed, none of it was made for this turn."""
        self.audio_ms_out = heard_ms
        self.audio_ms_synthesized += max(0, there_ms - self.audio_ms_replayed)

    def spoke(self, piece: SpeechAudio, asked: TtsProfile) -> None:
        """A voice made this, the one that was ``asked`` unless the piece says otherwise."""
        self.work.spoke(piece.maker or Maker(asked.provider, asked.model), len(piece.samples))

    def claim(self, meter: SoundMeter) -> None:
        """The turn is certain: what came and left since the account before is in this one, and what comes until it is
        closed."""
        self.meter = meter
        self.sound = self.sound.plus(meter.take())

    def close(self, finished: int, log: CallLog) -> None:
        """The turn is over: so many tools answered; ``log`` knows those that were stopped and how long they all ran."""
        self.tool_calls = finished + log.tools_stopped
        self.tool_ms += log.tool_ms
        if self.meter is not None:
            self.sound = self.sound.plus(self.meter.take())

    def asked_models(
        self,
        answer: TokenUsage,
        by_model: Sequence[tuple[ModelProfile, TokenUsage]],
        overtaken: Sequence[Overtaken],
    ) -> None:
        """What the answer cost (as far as it is known, by model: the rest is that of whoever is named for it), and what
        the models cost whose answer was not used."""
        lost = [(each.profile, each.usage) for each in overtaken]
        self.tokens = sum((usage for _, usage in lost), answer)
        self.overtaken_tokens = sum(_whole(usage) for _, usage in lost)
        self.hedged_tokens = sum(_whole(each.usage) for each in overtaken if each.error_code is None)
        self.own_key = self.own_key or any(profile.own for profile, _ in (*by_model, *lost))
        for profile, usage in (*by_model, *lost):
            self.work.thought(Maker(profile.provider, profile.model), usage)

    def absorb(self, discarded: list[TurnAccount]) -> None:
        """Take over what drafts that came to nothing consumed; their tokens are speculative."""
        for draft in discarded:
            self.audio_ms_synthesized += draft.audio_ms_synthesized
            self.tts_characters += draft.tts_characters
            self.work.absorb(draft.work)
            self.own_key = self.own_key or draft.own_key
            if "tts" in draft.providers:
                self.providers.setdefault("tts", draft.providers["tts"])
            self.speculative_tokens += _whole(draft.tokens)
            self.drafts_estimated |= draft.tokens.estimated
            self.drafted_calls += draft.tool_calls
            self.tool_ms += draft.tool_ms

    def spent(self, *, was_draft: bool) -> tuple[int, int]:
        """Tokens its models took in vain, of a draft that came to nothing all and else those of models that were merely
        slower than another; and the rest. What drafts before it took is not counted again."""
        wasted = _whole(self.tokens) if was_draft else self.hedged_tokens
        return wasted, _whole(self.tokens) - wasted

    def is_empty(self) -> bool:
        """Whether nothing was consumed."""
        work = self.audio_ms_in or self.audio_ms_synthesized or self.speculative_tokens or self.tts_characters
        return not (work or self.drafted_calls or self.tool_ms) and self.sound == Sound()

    def usage(self) -> TurnUsage:
        """The account as the client is told it."""
        return TurnUsage(
            input_tokens=self.tokens.input_tokens,
            cached_input_tokens=self.tokens.cached_input_tokens,
            output_tokens=self.tokens.output_tokens,
            tool_calls=self.tool_calls,
            audio_ms_in=self.audio_ms_in,
            audio_ms_out=self.audio_ms_out,
        )

    def workers(self) -> dict[str, StageProvider]:
        """Who did most of each stage so far."""
        return {stage: self.work.who(stage, preferred) for stage, preferred in self.providers.items()}

    def event(
        self,
        identity: Identity,
        ended_at: int,
        stages: tuple[StageLatency, ...] = (),
        breaches: Mapping[str, str] = NO_BREACHES,
    ) -> UsageEvent:
        """The usage event of the turn as it stands. ``breaches``: by stage that was late, what was done about it."""
        return UsageEvent(
            event_id=event_id(identity.tenant_id, self.turn_id),
            request_id=self.turn_id,
            tenant_id=identity.tenant_id,
            user_id=identity.user_id,
            session_id=identity.session_id,
            agent_id=self.agent_id,
            mode="byok" if self.own_key and identity.mode != "managed" else identity.mode,
            started_at=self.started_at,
            ended_at=max(ended_at, self.started_at),
            providers=self._named(identity),
            audio_ms_in=self.audio_ms_in,
            audio_ms_out=self.audio_ms_out,
            audio_ms_synthesized=self.audio_ms_synthesized,
            tts_characters=self.tts_characters,
            input_tokens=self.tokens.input_tokens,
            cached_input_tokens=self.tokens.cached_input_tokens,
            output_tokens=self.tokens.output_tokens,
            speculative_tokens=self.speculative_tokens,
            tool_calls=self.tool_calls + self.drafted_calls,
            latency_ms={stage.stage: round(stage.duration_ms) for stage in stages},
            interrupted=self.interrupted,
            success=self.error_code is None,
            error_code=self.error_code,
            estimated=self.tokens.estimated or self.drafts_estimated,
            transport=identity.transport,
            latency_start_ms={stage.stage: round(stage.start_ms) for stage in stages},
            shares=self._shares(),
            breaches=dict(breaches),
            overtaken_tokens=self.overtaken_tokens,
            audio_ms_received=self.sound.received_ms,
            audio_ms_speech=self.sound.speech_ms,
            audio_ms_sent=self.sound.sent_ms,
            reasoning_tokens=self.tokens.reasoning_tokens,
            tool_ms=self.tool_ms,
            call_ms=self.sound.call_ms,
            audio_ticks_received=self.sound.received_ticks,
            audio_ticks_sent=self.sound.sent_ticks,
        )

    def _named(self, identity: Identity) -> dict[str, StageProvider]:
        named = self.workers()
        if identity.carrier is not None:
            named["call"] = StageProvider(identity.carrier, identity.leg or "unknown")
        return named

    def _shares(self) -> tuple[ProviderShare, ...]:
        shares: list[ProviderShare] = []
        if "stt" in self.providers:
            shares += self.work.hearing(self.audio_ms_in, self.providers["stt"])
        if "agent" in self.providers:
            shares += self.work.thinking(self.tokens, self.providers["agent"])
        if "tts" in self.providers:
            shares += self.work.speaking(self.audio_ms_synthesized, self.tts_characters, self.providers["tts"])
        return tuple(shares)


def _whole(usage: TokenUsage) -> int:
    return usage.input_tokens + usage.output_tokens
