"""The sample ring against a model that keeps everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.formats import PcmChunk
from audio.ring import SampleRing


def chunk(start: int, *values: int, rate_hz: int = 16_000) -> PcmChunk:
    return PcmChunk(np.array(values, np.int16), start, rate_hz)


def numbered(start: int, length: int) -> PcmChunk:
    return PcmChunk(np.arange(start, start + length).astype(np.int16), start)


def test_what_was_appended_can_be_read_by_position():
    ring = SampleRing(10)
    ring.append(chunk(0, 1, 2, 3))
    ring.append(chunk(3, 4, 5))
    held = ring.read(1, 4)
    assert held.samples.tolist() == [2, 3, 4]
    assert (held.start_sample, held.end_sample, held.sample_rate_hz) == (1, 4, 16_000)


def test_the_oldest_samples_give_way():
    ring = SampleRing(4)
    for start in range(0, 9, 3):
        ring.append(numbered(start, 3))
    assert (ring.oldest_sample, ring.end_sample) == (5, 9)
    assert ring.read(0, 100).samples.tolist() == [5, 6, 7, 8]


def test_reading_is_clamped_to_what_is_held():
    ring = SampleRing(4)
    ring.append(numbered(10, 6))
    assert ring.read(0, 13).samples.tolist() == [12]
    assert ring.read(15, 99).samples.tolist() == [15]
    for start, end in [(0, 12), (16, 20), (99, 100), (15, 13), (-5, -1)]:
        nothing = ring.read(start, end)
        assert len(nothing.samples) == 0
        assert 12 <= nothing.start_sample <= 16


def test_before_anything_came_there_is_nothing_to_read():
    ring = SampleRing(4)
    assert ring.oldest_sample == ring.end_sample == 0
    assert len(ring.read(0, 100).samples) == 0


def test_a_stream_may_start_anywhere():
    ring = SampleRing(4)
    ring.append(chunk(1_000, 7))
    assert (ring.oldest_sample, ring.end_sample) == (1_000, 1_001)


def test_a_gap_reads_as_silence():
    ring = SampleRing(8)
    ring.append(numbered(1, 7))
    ring.append(chunk(10, 99))
    assert ring.read(0, 20).samples.tolist() == [3, 4, 5, 6, 7, 0, 0, 99]


def test_a_gap_longer_than_the_ring_leaves_only_silence_before_what_follows():
    ring = SampleRing(4)
    ring.append(chunk(0, 1, 2, 3, 4))
    ring.append(chunk(1_000, 5))
    assert ring.read(0, 2_000).samples.tolist() == [0, 0, 0, 5]


def test_a_repeated_stretch_keeps_its_first_version():
    ring = SampleRing(8)
    ring.append(chunk(0, 1, 2, 3))
    ring.append(chunk(1, 9, 9, 4))
    ring.append(chunk(0, 8))
    assert ring.read(0, 8).samples.tolist() == [1, 2, 3, 4]


def test_what_was_read_does_not_change_with_what_comes_after():
    ring = SampleRing(3)
    ring.append(chunk(0, 1, 2, 3))
    held = ring.read(0, 3)
    ring.append(chunk(3, 4, 5, 6))
    assert held.samples.tolist() == [1, 2, 3]


def test_a_chunk_of_another_rate_and_a_ring_without_room_are_refused():
    with pytest.raises(ValueError, match="8000 Hz"):
        SampleRing(4).append(chunk(0, 1, rate_hz=8_000))
    with pytest.raises(ValueError, match="at least one"):
        SampleRing(0)


@given(
    capacity=st.integers(1, 20),
    pieces=st.lists(st.tuples(st.integers(-30, 30), st.integers(0, 45)), max_size=20),
    span=st.tuples(st.integers(-10, 300), st.integers(-10, 300)),
)
def test_any_sequence_of_chunks_holds_what_a_ring_without_bounds_would_end_with(capacity, pieces, span):
    ring = SampleRing(capacity)
    everything: list[int] = []
    origin: int | None = None
    for serial, (step, length) in enumerate(pieces):
        start = max(0, (0 if origin is None else origin + len(everything)) + step)
        values = [serial * 50 + index + 1 for index in range(length)]
        ring.append(chunk(start, *values))
        origin = start if origin is None else origin
        end = origin + len(everything)
        if start + length > end:
            everything += [0] * (start - end) + values[max(0, end - start) :]
    first = 0 if origin is None else origin
    oldest = first + max(0, len(everything) - capacity)
    assert (ring.oldest_sample, ring.end_sample) == (oldest, first + len(everything))
    low, high = max(span[0], oldest), min(span[1], ring.end_sample)
    assert ring.read(*span).samples.tolist() == everything[low - first : max(low, high) - first]
