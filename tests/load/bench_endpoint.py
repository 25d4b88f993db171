"""The end of a turn, measured: turns cut off, ends missed, and how long the agent waits for nothing.

Human sentences with pauses of 100 to 800 ms between their words go once through the real voice-activity chain, the
embedded recogniser and smart-turn; the turn machine then plays each of them under every rule, on the audio's clock. A
turn is cut off when it is taken to be over before its last sample; an end is missed when it is not found within 2 s.

    make bench-endpoint [ARGS="--root DIR --heard FILE --save FILE --list"]

``--root`` is where Debian's asterisk-core-sounds-en, asterisk-core-sounds-en-g722 and pocketsphinx-testdata are
unpacked (``/`` where they are installed; without them only the fixtures are used). What was heard may be saved and used
again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from endpoint_corpus import WordGaps, recordings, turns
from endpoint_replay import Ear, Heard, Outcome, Replay, blocking

from agents.core.policy import TurnPolicy
from audio.endpoint.smart_turn import SmartTurn
from audio.inference import InferencePool
from audio.stt.whisper_model import WhisperModel, packaged_model

MISSED_MS: Final = 2_000
RULES: Final[Sequence[tuple[str, TurnPolicy, bool]]] = (
    *((f"silence of {ms} ms", TurnPolicy(min_wait_ms=ms, wait_ms=ms, max_wait_ms=ms), False) for ms in (300, 500, 800)),
    ("eagerness low", TurnPolicy(eagerness="low"), False),
    ("eagerness auto (default)", TurnPolicy(), False),
    ("eagerness high", TurnPolicy(eagerness="high"), False),
    ("default, engines' own delays", TurnPolicy(), True),
)
HEADINGS: Final = f"  {'':30s} cut off        missed   response gap p50 / p95 ms"


def hear(root: Path) -> Iterator[Heard]:
    """Every turn through the engines; takes about half a second each on an idle core."""
    ear = Ear(WhisperModel(packaged_model(), 1), blocking(SmartTurn(cast(InferencePool, None))))
    gaps = WordGaps()
    for recording in recordings(root):
        for turn in turns(recording, gaps.find(recording)):
            yield ear.hear(turn)


def play(heard: Sequence[Heard], policy: TurnPolicy, *, delays: bool) -> list[Outcome]:
    """Every turn under one rule; the turns of one speaker are one session."""
    sessions: dict[str, Replay] = {}
    return [sessions.setdefault(one.speaker, Replay(policy, delays=delays)).play(one) for one in heard]


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    """One rule's figures: of the turns with a pause, those cut off; of all, the ends missed and the gaps."""
    paused = [one for one in outcomes if one.heard.pause_ms]
    cut = sum(one.cut for one in paused)
    gaps = [one.gap_ms for one in outcomes if one.gap_ms is not None]
    missed = sum(one.committed_ms is None or one.committed_ms > one.heard.end_ms + MISSED_MS for one in outcomes)
    p50, p95 = np.percentile(gaps, (50, 95))
    share = 100 * cut / max(1, len(paused))
    return f"  {name:30s} {cut:3d} = {share:4.1f} %   {missed:3d}      {p50:4.0f} / {p95:4.0f}"


def report(heard: Sequence[Heard], *, listing: bool) -> None:
    """Print the figures, held-out recordings last: those nobody chose a number by."""
    for title, held_out in (("recordings the numbers were chosen on", False), ("held-out recordings", True)):
        part = [one for one in heard if one.held_out is held_out]
        if not part:
            continue
        paused = sum(one.pause_ms > 0 for one in part)
        speakers = len({one.speaker for one in part})
        print(f"{title}: {len(part)} turns, {paused} with a pause, {speakers} sources")
        print(HEADINGS)
        for name, policy, delays in RULES:
            outcomes = play(part, policy, delays=delays)
            print(row(name, outcomes))
            if listing and name.startswith("eagerness auto"):
                list_cut(outcomes)


def list_cut(outcomes: Sequence[Outcome]) -> None:
    """What the recogniser and smart-turn said where a turn was cut off."""
    for one in outcomes:
        if one.cut and one.committed_ms is not None:
            last = [edge for edge in one.heard.edges if not edge.started and edge.known_ms <= one.committed_ms][-1]
            print(f"      {one.heard.name}: {last.hint:.2f} {last.text!r}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the end of turns.")
    parser.add_argument("--root", type=Path, default=Path("/"))
    parser.add_argument("--heard", type=Path, help="play what was saved before instead of listening again")
    parser.add_argument("--save", type=Path, help="keep what was heard, a turn a line")
    parser.add_argument("--list", action="store_true", help="show the turns that are cut off")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.heard is not None:
        lines = options.heard.read_text().splitlines()
        heard = [Heard.from_json(cast(dict[str, Any], json.loads(line))) for line in lines]
    else:
        heard = list(hear(options.root))
    if options.save is not None:
        options.save.write_text("".join(json.dumps(one.as_json()) + "\n" for one in heard))
    if not heard:
        sys.exit("no recordings were found")
    report(heard, listing=options.list)


if __name__ == "__main__":
    main()
