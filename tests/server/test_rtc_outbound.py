"""Speech on its way out, in virtual time: one packet each 20 ms, timestamps that tell the truth, bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtc_peers import tone

from audio.codecs.libopus import EncoderOptions, LibopusDecoder
from audio.rtp.packet import RtpPacket, signed_distance
from server.transports.rtc.offer import OfferedAudio
from server.transports.rtc.outbound import Outbound, encoder_options
from server.transports.rtc.speech_queue import SpeechQueue


def outbound(**options) -> Outbound:
    return Outbound(7, 111, EncoderOptions(**options), 10_000)


def run(out: Outbound, from_ms: float, to_ms: float, step_ms: float = 10.0) -> list[tuple[float, RtpPacket]]:
    packets, now_ms = [], from_ms
    while now_ms < to_ms:
        packets += [(now_ms, RtpPacket.parse(data)) for data in out.poll(now_ms)]
        now_ms += step_ms
    return packets


def test_speech_leaves_in_packets_of_twenty_milliseconds():
    out = outbound()
    assert out.queue.play(tone(1, 24_000), 24_000) == 24_000
    packets = run(out, 1_000, 1_990)
    assert len(packets) == 50
    assert [at_ms for at_ms, _ in packets] == [1_000 + 20 * n for n in range(50)]
    first = packets[0][1]
    assert [p.marker for _, p in packets] == [True] + [False] * 49
    assert [(p.sequence - first.sequence) & 0xFFFF for _, p in packets] == list(range(50))
    assert [signed_distance(p.timestamp, first.timestamp, 32) for _, p in packets] == [960 * n for n in range(50)]
    assert {(p.ssrc, p.payload_type) for _, p in packets} == {(7, 111)}
    decoder = LibopusDecoder(24_000)
    decoded = np.concatenate([decoder.decode(p.payload) for _, p in packets])
    assert np.abs(decoded[4_800:]).max() > 7_000


def test_after_speech_comes_a_little_silence_and_then_nothing():
    out = outbound()
    out.queue.play(tone(0.2, 24_000), 24_000)
    packets = run(out, 0, 5_000)
    assert 10 + 8 <= len(packets) <= 10 + 15
    assert len(packets[-1][1].payload) <= 2  # tells the other side to expect no more
    assert not out.active


def test_a_pause_moves_the_timestamp_on_by_the_time_that_passed():
    out = outbound()
    out.queue.play(tone(0.1, 24_000), 24_000)
    before = run(out, 0, 2_000)
    out.queue.play(tone(0.1, 24_000), 24_000)
    after = run(out, 7_345, 8_000)
    (last_ms, last), (first_ms, first) = before[-1], after[0]
    assert first.marker
    assert (first.sequence - last.sequence) & 0xFFFF == 1
    assert signed_distance(first.timestamp, last.timestamp, 32) == (first_ms - last_ms) * 48


def test_a_word_that_follows_at_once_goes_on_without_a_mark():
    out = outbound()
    out.queue.play(tone(0.1, 24_000), 24_000)
    packets = run(out, 0, 150)
    out.queue.play(tone(0.1, 24_000), 24_000)
    packets += run(out, 150, 260)
    assert [p.marker for _, p in packets].count(True) == 1
    steps = {signed_distance(b.timestamp, a.timestamp, 32) for (_, a), (_, b) in itertools.pairwise(packets)}
    assert steps == {960}


@pytest.mark.parametrize(("late_ms", "at_once"), [(20, 2), (40, 3), (500, 3)])
def test_after_a_late_call_it_catches_up_by_a_few_packets_only(late_ms, at_once):
    out = outbound()
    out.queue.play(tone(5, 24_000), 24_000)
    assert len(out.poll(0)) == 1
    assert len(out.poll(20 + late_ms)) == at_once
    rest = run(out, 40 + late_ms, 400 + late_ms)
    assert len(rest) == pytest.approx(18, abs=1)


def test_a_stall_shows_in_the_timestamps():
    out = outbound()
    out.queue.play(tone(5, 24_000), 24_000)
    first = RtpPacket.parse(out.poll(0)[0])
    packets = [RtpPacket.parse(data) for at_ms in (1_000, 1_020, 1_040) for data in out.poll(at_ms)]
    assert signed_distance(packets[-1].timestamp, first.timestamp, 32) == pytest.approx(1_040 * 48, abs=960)


def test_a_steady_tone_is_not_taken_for_silence():
    out = outbound()
    out.queue.play(tone(8, 24_000), 24_000)
    packets = run(out, 0, 7_900)
    assert min(len(p.payload) for _, p in packets[10:]) > 15


@pytest.mark.parametrize("dtx", [True, False])
def test_silence_that_is_played_is_sent_unless_it_may_be_saved(dtx):
    out = outbound(dtx=dtx)
    out.queue.play(np.zeros(48_000, np.int16), 24_000)
    packets = run(out, 0, 1_990)
    small = sum(len(p.payload) <= 2 for _, p in packets)
    assert (small > 50) == dtx


def test_reports_count_what_was_sent():
    out = outbound()
    assert out.counts(0) is None
    out.queue.play(tone(0.2, 24_000), 24_000)
    packets = run(out, 0, 200)
    counts = out.counts(300)
    assert counts is not None
    assert (counts.packets, counts.payload_bytes) == (10, sum(len(p.payload) for _, p in packets))
    assert signed_distance(counts.timestamp, packets[0][1].timestamp, 32) == 300 * 48


def test_the_encoder_keeps_within_what_the_other_side_asks_for():
    ours = EncoderOptions(bitrate_bps=24_000)
    asked = OfferedAudio(0, 111, "sendrecv", fec=False, max_bitrate_bps=16_000, mid_extension=None)
    assert encoder_options(ours, asked) == EncoderOptions(bitrate_bps=16_000, in_band_fec=False)
    generous = OfferedAudio(0, 111, "sendrecv", fec=True, max_bitrate_bps=510_000, mid_extension=None)
    assert encoder_options(ours, generous) == ours


# --- the queue ---


def test_the_queue_has_a_bound_and_says_how_much_it_took():
    queue = SpeechQueue(1_000)
    assert queue.play(tone(0.6, 24_000), 24_000) == 14_400
    assert queue.play(tone(0.6, 24_000), 24_000) == 9_600
    assert queue.play(tone(0.6, 24_000), 24_000) == 0
    assert queue.queued_ms == pytest.approx(1_000)


def test_clearing_counts_what_was_dropped_to_the_sample():
    queue = SpeechQueue(10_000)
    queue.play(tone(1, 22_050), 22_050)
    for _ in range(7):
        queue.frame()
    played = queue.played_samples
    assert queue.clear() == 22_050 - played
    assert queue.clear() == 0
    assert queue.frame() is None
    assert queue.empty


@given(
    plays=st.lists(
        st.tuples(st.integers(0, 3_000), st.sampled_from([8_000, 16_000, 22_050, 24_000, 48_000])), max_size=12
    )
)
def test_every_sample_played_leaves_once_whatever_its_rate(plays):
    queue = SpeechQueue(100_000)
    for count, rate_hz in plays:
        assert queue.play(np.full(count, 1_000, np.int16), rate_hz) == count
    total_ms = sum(count * 1_000 / rate_hz for count, rate_hz in plays)
    assert queue.queued_ms == pytest.approx(total_ms)
    frames = []
    while (frame := queue.frame()) is not None:
        assert len(frame) == queue.rate_hz // 50
        frames.append(frame)
    assert queue.played_samples == sum(count for count, _ in plays)
    assert queue.queued_ms == 0
    assert abs(20 * len(frames) - total_ms) <= 20 + len(plays)
