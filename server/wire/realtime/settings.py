"""What a realtime client asked for, whatever dialect it speaks: values the edge makes session options of.

Knows no protocol. Written by a dialect's configuration, read by ``server.sessions.realtime_options``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from agents.models.port import ToolChoice, ToolSpec
from audio.formats import AudioFormat, Encoding

PCM_24K = AudioFormat(Encoding.PCM16, 24_000)


@dataclass(frozen=True, slots=True)
class Detection:
    """How the end of the user's turn is found. Times in ms; ``None`` stands for our own way.

    ``kind`` ``silence`` goes by silence alone, ``semantic`` also by what was said. ``replies`` false means that a turn
    only becomes part of the conversation; ``interrupts`` false that the user's speech does not stop the agent's.
    """

    kind: Literal["silence", "semantic"] = "silence"
    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_ms: int | None = None
    max_wait_ms: int | None = None
    min_speech_ms: int | None = None
    eagerness: Literal["low", "auto", "high"] = "auto"
    replies: bool = True
    interrupts: bool = True
    idle_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ReplySettings:
    """How a reply is made: the session's, or one reply's own. ``None`` stands for the agent's own way.

    After ``filler_after_ms`` of silence one of ``filler_texts`` is said, or of the agent's own. ``word_times`` says
    whether the client is told when each word is spoken; ``visemes`` whether it is told mouth shapes.
    """

    instructions: str | None = None
    audible: bool = True
    voice: str | None = None
    speed: float = 1.0
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice = "auto"
    max_output_tokens: int | None = None
    temperature: float | None = None
    filler_after_ms: int | None = None
    filler_texts: tuple[str, ...] = ()
    word_times: bool = False
    visemes: bool = False


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """A realtime session, whole.

    ``detection`` ``None``: only the client ends a turn. ``transcribes`` says whether the client is told what the user
    said; ``writes_only`` that nobody answers at all (a transcription session).
    """

    model: str
    reply: ReplySettings = field(default_factory=ReplySettings)
    detection: Detection | None = field(default_factory=Detection)
    input_format: AudioFormat = PCM_24K
    output_format: AudioFormat = PCM_24K
    language: str | None = None
    phrases: tuple[str, ...] = ()
    transcribes: bool = False
    writes_only: bool = False

    def for_media(self) -> RealtimeSettings:
        """The same where audio travels beside the messages, as Opus."""
        opus = AudioFormat(Encoding.OPUS, 48_000)
        return replace(self, input_format=opus, output_format=opus)
