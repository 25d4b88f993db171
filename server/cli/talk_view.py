"""What ``talk`` shows: the words as they come, and afterwards where the milliseconds went.

Draws only; it learns everything from the server's messages and from ``voice_client``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from audio.formats import samples_to_ms
from server.cli.voice_client import OUTPUT_RATE_HZ, Conversation, Turn

BAR_CHARACTERS: Final = 36
_STAGE_WORDS: Final = {
    "endpoint": "sure you had finished",
    "stt": "knew what you said",
    "agent": "first words of the answer",
    "tts": "first sound of them",
    "egress": "on its way to you",
    "total": "last word to first sound",
}


class TalkView:
    """Live words on a terminal; whole lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None

    def progress(self, words: str | None) -> None:
        """What is going on at the moment; None clears it. Nothing where there is no terminal."""
        if not self._console.is_terminal:
            return
        if words is None:
            if self._status is not None:
                self._status.stop()
                self._status = None
            return
        if self._status is None:
            self._status = self._console.status("")
            self._status.start()
        self._status.update(escape(words))

    def on_message(self, message: dict[str, Any], conversation: Conversation) -> None:
        """Show what one message of the server says."""
        match message["type"]:
            case "session.started":
                self.progress("listening")
            case "transcript.partial":
                self.progress(f"you: {message['text']} …")
            case "turn.started" if message["source"] != "announcement":
                self._line("you", message["text"], "cyan")
            case "chat.token":
                turn = conversation.turns[-1] if conversation.turns else None
                self.progress(f"agent: {'' if turn is None else turn.answer}")
            case "chat.complete" if message["text"]:
                note = " (interrupted)" if message["interrupted"] else ""
                self._line("agent", f"{message['text']}{note}", "green")
            case "voice.interrupted":
                self.progress("interrupted: listening")
            case "degraded":
                self._line("degraded", message["reason"], "yellow")
            case "error":
                self._line("error", f"{message['message']} ({message['code']})", "red")
            case _:
                pass

    def waterfall(self, turn: Turn) -> None:
        """The stages of a turn, one under the other, to scale."""
        stages = [stage for stage in turn.latency if stage["stage"] != "total"]
        total = next((stage for stage in turn.latency if stage["stage"] == "total"), None)
        if not stages:
            return
        end_ms = max(stage["start_ms"] + stage["duration_ms"] for stage in stages)
        scale = BAR_CHARACTERS / max(end_ms, 1.0)
        table = Table(title="from your last word", title_justify="left", box=None, padding=(0, 1))
        for title in ("stage", "by", "ms"):
            table.add_column(title, justify="right" if title == "ms" else "left")
        table.add_column("")
        for stage in stages:
            before = round(stage["start_ms"] * scale)
            length = max(1, round(stage["duration_ms"] * scale))
            bar = " " * before + "█" * min(length, max(1, BAR_CHARACTERS - before))
            words = _STAGE_WORDS.get(stage["stage"], stage["stage"])
            table.add_row(words, escape(stage.get("provider") or ""), f"{stage['duration_ms']:.0f}", bar)
        if total is not None:
            table.add_row(_STAGE_WORDS["total"], "", f"{total['duration_ms']:.0f}", "", style="bold")
        if turn.first_audio_ms is not None:
            table.add_row("the same, measured here", "", f"{turn.first_audio_ms:.0f}", "", style="dim")
        self._console.print(table)

    def saved(self, path: Path, samples: int) -> None:
        """Where the answer's audio went."""
        seconds = samples_to_ms(samples, OUTPUT_RATE_HZ) / 1_000
        self._console.print(f"saved {escape(str(path))} ({seconds:.1f} s)", style="dim")

    def _line(self, who: str, words: str, style: str) -> None:
        self.progress(None)
        self._console.print(f"[{style}]{who}:[/{style}] {escape(words)}")
