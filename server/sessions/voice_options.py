"""What a client asked for, as the options a conversation runs with. Pure.

The contract's words (patience, eagerness, push-to-talk) become times here and nowhere else. Driven by ``server.host``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents.core.language import rules_for
from agents.core.options import Identity, SessionOptions
from agents.core.policy import TurnPolicy
from audio.vad.port import VadOptions
from server.contracts.latency_budget import LatencyBudgetSettings
from server.contracts.session import Patience, TurnDetection, VoiceSettings
from server.engine_rules import Asked
from server.latency_choice import LatencyChoice, SessionLatency
from server.sessions.speech_out import OPUS_SESSION_RATE_HZ, session_rate_hz

DEFAULT_LOCALE: Final = "en-US"


_NORMAL: Final = TurnPolicy()


@dataclass(frozen=True, slots=True)
class Waits:
    """Silence that ends a turn: one that sounds complete, one that may be, and any; and how long after the answer began
    the turn can still be taken back by going on."""

    min_ms: int
    wait_ms: int
    max_ms: int
    take_back_ms: int = _NORMAL.take_back_ms


WAITS: Final[dict[Patience, Waits]] = {
    "normal": Waits(_NORMAL.min_wait_ms, _NORMAL.wait_ms, _NORMAL.max_wait_ms),
    "patient": Waits(900, 1_400, 2_500, take_back_ms=600),
    "very_patient": Waits(2_000, 3_000, 5_000, take_back_ms=1_000),
    "never": Waits(2_000, 3_000, 5_000),
}
"""By ``accessibility.patience``; ``never`` ends no turn, its waits only time what else depends on them."""


def voice_latency(choice: LatencyChoice, asked: Asked, settings: VoiceSettings) -> SessionLatency:
    """How a voice session keeps its time. Raises BudgetError where the client asks for more than is permitted."""
    patient = settings.accessibility.patience != "normal"
    latency = choice.chosen(asked, settings.latency_budget, patient=patient)
    return latency.waiting(turn_policy(settings.turn_detection, _patience(settings, latency)).max_wait_ms)


def chat_latency(choice: LatencyChoice, asked: Asked, wish: LatencyBudgetSettings | None) -> SessionLatency:
    """How a session in writing keeps its time. Raises BudgetError as above."""
    return choice.chosen(asked, wish)


def session_options(
    settings: VoiceSettings, identity: Identity, latency: SessionLatency, *, media: bool = False
) -> SessionOptions:
    """The options of a voice session; ``media`` where the audio is a track, whatever codec the client named."""
    detection, output = settings.turn_detection, settings.output
    policy = latency.policy(turn_policy(detection, _patience(settings, latency)))
    return SessionOptions(
        identity=identity,
        locale=settings.locale,
        policy=replace(policy, rules=rules_for(settings.locale)),
        vad=VadOptions(
            threshold=detection.threshold,
            min_speech_ms=detection.min_speech_ms,
            min_silence_ms=detection.min_silence_ms,
            prefix_padding_ms=detection.prefix_padding_ms,
        ),
        budget=latency.enforced_budget,
        speak="audio" in output.modalities,
        output_rate_hz=OPUS_SESSION_RATE_HZ if media else session_rate_hz(output.format),
        voice=output.voice,
        rate=output.rate,
    )


def chat_options(identity: Identity, latency: SessionLatency) -> SessionOptions:
    """The options of a session in writing."""
    return SessionOptions(
        identity=identity,
        policy=latency.policy(_NORMAL),
        budget=latency.enforced_budget,
        listen=False,
        speak=False,
        partials=False,
        greet=False,
    )


def _patience(settings: VoiceSettings, latency: SessionLatency) -> Patience:
    """The client's, but where its budget is for people who need more time, they get it."""
    patience = settings.accessibility.patience
    return "patient" if patience == "normal" and latency.budget.name == "accessibility" else patience


def turn_policy(detection: TurnDetection, patience: Patience) -> TurnPolicy:
    """Turn-taking as asked for; a wait the client names wins over its patience, and pulls the others into order."""
    waits = WAITS[patience]
    low = waits.min_ms if detection.min_wait_ms is None else detection.min_wait_ms
    high = waits.max_ms if detection.max_wait_ms is None else detection.max_wait_ms
    if detection.max_wait_ms is None:
        high = max(high, low)
    else:
        low = min(low, high)
    return TurnPolicy(
        auto_end=detection.type == "auto" and patience != "never",
        min_wait_ms=low,
        wait_ms=min(max(waits.wait_ms, low), high),
        max_wait_ms=high,
        eagerness=detection.eagerness,
        interruptible=detection.interruptible,
        interrupt_after_ms=detection.interrupt_after_ms,
        take_back_ms=waits.take_back_ms,
        finish_clause_ms=detection.finish_clause_ms,
        confirm_after_ms=max(_NORMAL.confirm_after_ms, detection.interrupt_after_ms),
    )
