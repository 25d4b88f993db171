from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from audio.vad.port import EdgeKind, SpeechEdge, VadOptions
from audio.vad.segmenter import SpeechSegmenter

FRAME = 512


def edges(probabilities: list[float], options: VadOptions | None = None) -> list[SpeechEdge]:
    segmenter = SpeechSegmenter(options or VadOptions())
    found = [
        segmenter.step(probability, (index * FRAME, (index + 1) * FRAME), (index + 1) * FRAME)
        for index, probability in enumerate(probabilities)
    ]
    return [edge for edge in found if edge is not None]


def test_speech_starts_at_its_first_frame_once_it_has_lasted_long_enough() -> None:
    assert edges([0, 0, 0.9, 0.9, 0.9]) == [SpeechEdge(EdgeKind.STARTED, 2 * FRAME, 5 * FRAME)]


def test_speech_stops_at_its_first_silent_frame_once_silence_has_lasted_long_enough() -> None:
    assert edges([0.9] * 5 + [0.1] * 3)[1] == SpeechEdge(EdgeKind.STOPPED, 5 * FRAME, 8 * FRAME)


def test_a_click_is_not_speech() -> None:
    assert edges([0.9, 0.9, 0.1, 0.9, 0.9, 0.1]) == []


def test_a_short_dip_does_not_stop_speech() -> None:
    assert [edge.kind for edge in edges([0.9] * 4 + [0.1, 0.1, 0.9] * 3)] == [EdgeKind.STARTED]


def test_probabilities_between_the_thresholds_change_nothing() -> None:
    assert edges([0.4] * 20) == []
    assert len(edges([0.9] * 4 + [0.4] * 20)) == 1


def test_longer_silence_can_be_asked_for_in_mid_speech() -> None:
    segmenter = SpeechSegmenter(VadOptions())
    for index in range(4):
        segmenter.step(0.9, (index * FRAME, (index + 1) * FRAME), (index + 1) * FRAME)
    segmenter.update(VadOptions(min_silence_ms=320))
    kinds = [segmenter.step(0, (index * FRAME, (index + 1) * FRAME), (index + 1) * FRAME) for index in range(4, 14)]
    assert [edge is not None for edge in kinds] == [False] * 9 + [True]


def test_after_a_reset_speech_has_no_end() -> None:
    segmenter = SpeechSegmenter(VadOptions())
    for index in range(4):
        segmenter.step(0.9, (index * FRAME, (index + 1) * FRAME), (index + 1) * FRAME)
    segmenter.reset()
    assert segmenter.idle
    assert all(segmenter.step(0, (index * FRAME, (index + 1) * FRAME), 0) is None for index in range(4, 20))


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(32, 400), st.integers(32, 400))
def test_edges_alternate_move_forward_and_are_never_known_too_early(
    probabilities: list[float], speech_ms: int, silence_ms: int
) -> None:
    found = edges(probabilities, VadOptions(min_speech_ms=speech_ms, min_silence_ms=silence_ms))
    assert [edge.kind for edge in found] == ([EdgeKind.STARTED, EdgeKind.STOPPED] * len(found))[: len(found)]
    assert all(before.sample < after.sample for before, after in pairwise(found))
    for edge in found:
        needed_ms = speech_ms if edge.kind is EdgeKind.STARTED else silence_ms
        assert edge.decided_at_sample - edge.sample >= needed_ms * 16
