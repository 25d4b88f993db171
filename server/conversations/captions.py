"""A conversation as WebVTT (https://www.w3.org/TR/webvtt1/): cues in order of time, each with who speaks. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from server.conversations.tables import Cue, Entry

CUT: Final = " —"
"""Ends a line that was interrupted."""
MEDIA_TYPE: Final = "text/vtt"


def webvtt(entries: Iterable[Entry]) -> str:
    """The captions of these entries. Cue ids are stable: who has some of them finds what is new."""
    lines = [
        (cue, entry, place) for entry in entries for place, cue in enumerate(entry.cues or (Cue(0, 0, entry.text),))
    ]
    lines.sort(key=lambda line: (line[0].start_ms, line[1].number, line[2]))
    parts = ["WEBVTT"]
    for cue, entry, place in lines:
        last = place == max(0, len(entry.cues) - 1)
        text = f"{cue.text}{CUT}" if entry.interrupted and last and entry.speaker == "agent" else cue.text
        end_ms = max(cue.end_ms, cue.start_ms + 1)
        times = f"{_time(cue.start_ms)} --> {_time(end_ms)}"
        parts.append(f"{entry.item_id}.{place}\n{times}\n<v {entry.speaker}>{_escaped(text)}")
    return "\n\n".join(parts) + "\n"


def _time(ms: int) -> str:
    seconds, thousandths = divmod(max(0, ms), 1_000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{thousandths:03d}"


def _escaped(text: str) -> str:
    """Text that holds no tag, no line end and no arrow (section 3.1: cue text)."""
    plain = " ".join(text.split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
