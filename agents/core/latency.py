"""Where a turn's milliseconds went.

A turn marks moments on the event loop's clock; the stages of the contract (CONTRACT section 7) are read off them once
the first audio, or the first text where there is no audio, has left. A stage that ran ahead of the turn's certainty
(speculation) is shown where it really lay. Pure: the clock's readings arrive as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from agents.latency_events import StageLatency
from metering.usage import StageProvider

Mark = Literal["speech_end", "flushed", "transcribed", "committed", "phrase", "audio", "sent"]


@dataclass(slots=True)
class LatencyMarks:
    """Moments of one turn in seconds of one monotonic clock; the first of each counts.

    ``committed`` is when the turn was over as far as silence tells; the wait for its reply, which commits it, is the
    reply's.
    """

    at_s: dict[Mark, float] = field(default_factory=dict[Mark, float])

    def mark(self, name: Mark, now_s: float) -> None:
        """Note a moment, unless it was noted before."""
        self.at_s.setdefault(name, now_s)

    def began_s(self, stage: str) -> float | None:
        """When a stage began, as far as that is known."""
        at_s = self.at_s
        match stage:
            case "stt":
                return at_s.get("flushed", at_s.get("transcribed"))
            case "agent":
                return at_s.get("transcribed", at_s.get("committed"))
            case "tts":
                return at_s.get("phrase")
            case "egress":
                audio = at_s.get("audio")
                return None if audio is None else max(audio, at_s.get("committed", audio))
            case _:
                return at_s.get("speech_end")

    def stages(self, providers: Mapping[str, StageProvider]) -> tuple[StageLatency, ...]:
        """The stages that can be told from the marks, in ms from the last speech sample, or from the typed question.

        A typed question was neither waited for nor recognised: it has no ``endpoint`` and no ``stt``. ``providers``
        names the engine of each stage, where one did the work.
        """
        zero = self.at_s.get("speech_end")
        committed = self.at_s.get("committed")
        if zero is None or committed is None:
            return ()
        transcribed = self.at_s.get("transcribed")
        sent = self.at_s.get("sent")
        ends = {
            "endpoint": None if transcribed is None else committed,
            "stt": transcribed,
            "agent": self.at_s.get("phrase"),
            "tts": self.at_s.get("audio"),
            "egress": sent,
            "total": sent,
        }
        spans = ((stage, self.began_s(stage), end) for stage, end in ends.items())
        return tuple(
            StageLatency(
                stage,  # type: ignore[arg-type]
                round(max(0.0, start - zero) * 1_000, 1),
                round(max(0.0, end - start) * 1_000, 1),
                None if (who := providers.get(stage)) is None else who.provider,
                None if who is None else who.model,
            )
            for stage, start, end in spans
            if start is not None and end is not None
        )
