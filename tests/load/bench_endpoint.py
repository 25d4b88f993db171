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
from endpoint_ear import Ear, Heard, blocking
from endpoint_replay import Delays, Outcome, Replay

from agents.core.policy import TurnPolicy
from audio.endpoint.smart_turn import SmartTurn
from audio.inference import InferencePool
from audio.stt.whisper_model import WhisperModel, packaged_model

MISSED_MS: Final = 2_000
LONGEST_PAUSE_MS: Final = 800
"""Pauses are spliced in where words meet; where the speaker paused there already, they come out longer than asked."""
NO_DELAYS: Final = Delays()
EMBEDDED: Final = Delays(words_ms=110, hint_ms=165, reply_ms=330)
"""The medians of the embedded engines on two quiet cores (bench_main_job): the words are there when the pause is known,
smart-turn 60 ms later, a first phrase in 255 ms and its first audio in 75."""
PROVIDERS: Final = Delays(words_ms=250, hint_ms=165, reply_ms=600)
"""Engines across a network."""
RULES: Final[Sequence[tuple[str, TurnPolicy]]] = (
    *((f"silence of {ms} ms", TurnPolicy(min_wait_ms=ms, wait_ms=ms, max_wait_ms=ms)) for ms in (300, 500, 800)),
    ("eagerness low", TurnPolicy(eagerness="low")),
    ("eagerness auto (default)", TurnPolicy()),
    ("eagerness high", TurnPolicy(eagerness="high")),
)
ENGINES: Final[Sequence[tuple[str, Delays]]] = (
    ("engines that cost no time", NO_DELAYS),
    ("the embedded engines' delays: words after 110 ms, first audio 330 ms later", EMBEDDED),
    ("a provider's: words after 250 ms, first audio 600 ms later", PROVIDERS),
)
HEADINGS: Final = f"  {'':26s} too early      heard          noticed        missed   first audio after p50 / p95 ms"


def hear(root: Path) -> Iterator[Heard]:
    """Every turn through the engines; takes about half a second each on an idle core."""
    ear = Ear(WhisperModel(packaged_model(), 1), blocking(SmartTurn(cast(InferencePool, None))))
    gaps = WordGaps()
    for recording in recordings(root):
        for turn in turns(recording, gaps.find(recording)):
            yield ear.hear(turn)


def play(heard: Sequence[Heard], policy: TurnPolicy, delays: Delays = NO_DELAYS) -> list[Outcome]:
    """Every turn under one rule; the turns of one speaker are one session."""
    sessions: dict[str, Replay] = {}
    return [sessions.setdefault(one.speaker, Replay(policy, delays)).play(one) for one in heard]


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    """One rule's figures. Of the turns with a pause: those taken to be over too early, those in which the agent's voice
    was heard too early at all, and those in which that was to be noticed. Of all: ends missed, and how soon answers
    are heard."""
    paused = [one for one in outcomes if has_pause(one.heard)]
    answers = [one.answer_ms for one in outcomes if one.answer_ms is not None]
    missed = sum(one.sounded_ms is None or one.sounded_ms > one.heard.end_ms + MISSED_MS for one in outcomes)
    counts = [sum(one.cut for one in paused), sum(one.voice_before_end_ms > 0 for one in paused)]
    counts.append(sum(one.noticed for one in paused))
    shares = "   ".join(f"{count:3d} = {100 * count / max(1, len(paused)):4.1f} %" for count in counts)
    p50, p95 = np.percentile(answers, (50, 95))
    return f"  {name:26s} {shares}   {missed:3d}      {p50:4.0f} / {p95:4.0f}"


def has_pause(heard: Heard) -> bool:
    """Whether the speaker pauses inside the turn, be it of their own accord."""
    return bool(heard.pause_ms) or heard.longest_pause_ms > 0


def report(heard: Sequence[Heard], *, listing: bool) -> None:
    """Print the figures, held-out recordings last: those nobody chose a number by."""
    for title, held_out in (("recordings the numbers were chosen on", False), ("held-out recordings", True)):
        part = [one for one in heard if one.held_out is held_out and one.longest_pause_ms <= LONGEST_PAUSE_MS]
        if not part:
            continue
        paused = sum(has_pause(one) for one in part)
        left_out = sum(one.held_out is held_out for one in heard) - len(part)
        speakers = len({one.speaker for one in part})
        print(f"{title}: {len(part)} turns of {speakers} sources, {paused} with pauses, none above 800 ms")
        print(f" ({left_out} with longer ones are left out)")
        for engines, delays in ENGINES:
            print(f" {engines}")
            print(HEADINGS)
            for name, policy in RULES:
                outcomes = play(part, policy, delays)
                print(row(name, outcomes))
                if listing and name.startswith("eagerness auto"):
                    list_cut(outcomes)


def list_cut(outcomes: Sequence[Outcome]) -> None:
    """What the recogniser and smart-turn said where a turn was cut off."""
    for one in outcomes:
        if one.cut and one.committed_ms is not None:
            last = [edge for edge in one.heard.edges if not edge.started and edge.known_ms <= one.committed_ms][-1]
            print(f"      {one.heard.name}: {last.hint:.2f} {last.text!r}, {one.voice_before_end_ms} ms, {one.turns}")


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
