"""How far a text has been spoken, and whether its audio is due."""

from __future__ import annotations

import pytest

from audio.tts.text_progress import TextProgress


@pytest.mark.parametrize(
    ("text", "said", "is_due"),
    [
        ("I can tell you", "", False),
        ("I can tell you. ", "", False),
        ("I can tell you. It", "", True),
        ("I can tell you. It is", "you", False),
        ("(I can tell you.) It is", "you", False),
        ("I can tell you. It is so. And", "you", True),
        ("I can tell you. It is", "tell", True),
        ("今日は。明日", "今日は", False),
        ("今日は。明日は。", "今日は", True),
        ("I can" + " and I can" * 30, "", True),
    ],
)
def test_audio_is_due_for_whole_sentences_that_were_not_said(text: str, said: str, is_due: bool) -> None:
    progress = TextProgress(text)
    for word in text[: text.index(said) + len(said)].strip("(").split() if said else ():
        progress.said(word)
    assert progress.owes_audio is is_due
    progress.finished = True
    assert progress.owes_audio


def test_what_comes_next_begins_behind_the_end_of_what_was_said() -> None:
    progress = TextProgress('She said "so." Then left')
    assert progress.next_at == 0
    for word in ("She", "said", "so"):
        progress.said(word)
    assert progress.text[progress.next_at :] == "Then left"
