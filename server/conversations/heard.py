"""What of a reply was heard, in its captions. Pure; driven by ``server.conversations.notes``."""

from __future__ import annotations

from collections.abc import Sequence

from server.conversations.tables import Cue


def until_ms(cues: Sequence[Cue], heard_ms: int) -> str:
    """The words of the cues that had sounded by ``heard_ms``; within a cue, words take time by their letters."""
    said: list[str] = []
    for cue in cues:
        if cue.end_ms <= heard_ms:
            said.append(cue.text)
            continue
        share = (heard_ms - cue.start_ms) / max(1, cue.end_ms - cue.start_ms)
        letters, words = int(len(cue.text) * max(0.0, share)), cue.text.split(" ")
        while words and len(" ".join(words)) > letters:
            words.pop()
        if words:
            said.append(" ".join(words))
        break
    return " ".join(said)


def cut_to_text(cues: Sequence[Cue], heard: str, heard_ms: int) -> tuple[Cue, ...]:
    """The cues that say ``heard`` and no more: the last one shortened, and none beyond ``heard_ms``."""
    kept: list[Cue] = []
    rest = heard.strip().rstrip("….").strip()
    for cue in cues:
        if not rest or cue.start_ms >= heard_ms:
            break
        end_ms = max(cue.start_ms + 1, min(cue.end_ms, heard_ms))
        if rest.startswith(cue.text.rstrip("….").strip()):
            kept.append(Cue(cue.start_ms, end_ms, cue.text))
            rest = rest[len(cue.text.rstrip("….").strip()) :].lstrip("….,;:!? ")
        else:
            kept.append(Cue(cue.start_ms, end_ms, rest if cue.text.startswith(rest[:8]) else _until(cue, heard_ms)))
            break
    return tuple(cue for cue in kept if cue.text)


def _until(cue: Cue, heard_ms: int) -> str:
    """The captions word it otherwise (markup, numbers): by time, then."""
    return until_ms([cue], heard_ms)
