from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PcmChunk, Samples
from audio.stt.window import UtteranceAudio, quietest

SECOND = 16_000


def noise(seconds: float, level: float = 3_000) -> Samples:
    return np.random.default_rng(1).normal(0, level, int(seconds * SECOND)).clip(-32_768, 32_767).astype(np.int16)


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=40))
def test_consecutive_chunks_are_held_unchanged(lengths: list[int]) -> None:
    audio, whole = UtteranceAudio(1_000), np.arange(sum(lengths), dtype=np.int64).astype(np.int16)
    done = 0
    for length in lengths:
        audio.append(PcmChunk(whole[done : done + length], 1_000 + done))
        done += length
    assert np.array_equal(audio.copy(), whole)
    assert audio.end_sample == 1_000 + done


def test_audio_that_was_heard_before_is_not_held_twice() -> None:
    audio, whole = UtteranceAudio(0), noise(1)
    audio.append(PcmChunk(whole[:10_000], 0))
    assert audio.append(PcmChunk(whole[8_000:], 8_000)) == 6_000
    assert audio.append(PcmChunk(whole[:100], 0)) == 0
    assert np.array_equal(audio.copy(), whole)


def test_a_gap_is_held_as_at_most_300_ms_of_silence() -> None:
    audio = UtteranceAudio(0)
    audio.append(PcmChunk(noise(1), 0))
    audio.append(PcmChunk(noise(1), 60 * SECOND))
    assert len(audio) == 2 * SECOND + 4_800
    assert audio.end_sample == 61 * SECOND


def test_dropping_the_head_keeps_the_tail_and_its_position() -> None:
    audio, whole = UtteranceAudio(0), noise(6)
    audio.append(PcmChunk(whole, 0))
    audio.drop(5 * SECOND)
    assert np.array_equal(audio.copy(), whole[5 * SECOND :])
    assert audio.end_sample == 6 * SECOND


def test_the_quiet_end_is_measured_against_the_speech_before_it() -> None:
    audio = UtteranceAudio(0)
    for index in range(10):
        audio.append(PcmChunk(noise(0.02), index * 320))
    assert audio.quiet_samples == 0
    for index in range(10, 14):
        audio.append(PcmChunk(noise(0.02, 100), index * 320))
    assert audio.quiet_samples == 4 * 320


def test_the_loudest_negative_sample_does_not_overflow() -> None:
    audio = UtteranceAudio(0)
    audio.append(PcmChunk(np.full(320, -32_768, dtype=np.int16), 0))
    audio.append(PcmChunk(np.full(320, 100, dtype=np.int16), 320))
    assert audio.quiet_samples == 320


def test_a_pause_is_found_and_cut_in_its_middle() -> None:
    audio = np.concatenate([noise(8), noise(0.2, 10), noise(6)])
    place = quietest(audio, 5 * SECOND, 10 * SECOND)
    assert place.is_pause
    assert abs(place.index - 8.1 * SECOND) <= 0.05 * SECOND


def test_steady_sound_has_a_quietest_place_but_no_pause() -> None:
    place = quietest(noise(12), 5 * SECOND, 10 * SECOND)
    assert not place.is_pause
    assert 5 * SECOND <= place.index <= 10 * SECOND
