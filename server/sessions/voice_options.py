"""What a client asked for, as the options a conversation runs with. Pure.

The contract's words (patience, eagerness, push-to-talk) become times here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents.core.language import rules_for
from agents.core.options import Identity, SessionOptions
from agents.core.policy import TurnPolicy
from audio.vad.port import VadOptions
from server.contracts.session import Patience, TurnDetection, VoiceSettings
from server.sessions.speech_out import OPUS_SESSION_RATE_HZ, session_rate_hz

FILLER_AFTER_MS: Final = 4_000
"""How long a speaker waits for an answer before the agent says that it is thinking."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Silence that ends a turn: one that sounds complete, one that may be, and any."""

    min_ms: int
    wait_ms: int
    max_ms: int


_NORMAL: Final = TurnPolicy()
WAITS: Final[dict[Patience, Waits]] = {
    "normal": Waits(_NORMAL.min_wait_ms, _NORMAL.wait_ms, _NORMAL.max_wait_ms),
    "patient": Waits(900, 1_400, 2_500),
    "very_patient": Waits(2_000, 3_000, 5_000),
    "never": Waits(2_000, 3_000, 5_000),
}
"""By ``accessibility.patience``; ``never`` ends no turn, its waits only time what else depends on them."""


def session_options(settings: VoiceSettings, identity: Identity, *, media: bool = False) -> SessionOptions:
    """The options of a voice session; ``media`` where the audio is a track, whatever codec the client named."""
    detection, output = settings.turn_detection, settings.output
    return SessionOptions(
        identity=identity,
        locale=settings.locale,
        policy=replace(turn_policy(detection, settings.accessibility.patience), rules=rules_for(settings.locale)),
        vad=VadOptions(
            threshold=detection.threshold,
            min_speech_ms=detection.min_speech_ms,
            min_silence_ms=detection.min_silence_ms,
            prefix_padding_ms=detection.prefix_padding_ms,
        ),
        speak="audio" in output.modalities,
        output_rate_hz=OPUS_SESSION_RATE_HZ if media else session_rate_hz(output.format),
        voice=output.voice,
        rate=output.rate,
    )


def chat_options(identity: Identity) -> SessionOptions:
    """The options of a session in writing."""
    return SessionOptions(identity=identity, listen=False, speak=False, partials=False, greet=False)


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
        finish_clause_ms=detection.finish_clause_ms,
        filler_after_ms=FILLER_AFTER_MS,
        confirm_after_ms=max(_NORMAL.confirm_after_ms, detection.interrupt_after_ms),
    )
