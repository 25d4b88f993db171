"""The parts of RTP reception by themselves: packets as bytes, order, positions, and the numbers of reports."""

from __future__ import annotations

import random

import pytest
from aiortc.rtp import RtpPacket as Aiortc
from hypothesis import given
from hypothesis import strategies as st

from audio.rtp.packet import RtpFormatError, RtpPacket, signed_distance
from audio.rtp.reception import Reception
from audio.rtp.reorder import ReorderBuffer, ReorderOptions
from audio.rtp.timeline import Timeline

packets = st.builds(
    RtpPacket,
    sequence=st.integers(0, 65_535),
    timestamp=st.integers(0, 2**32 - 1),
    payload=st.binary(max_size=50),
    ssrc=st.integers(0, 2**32 - 1),
    payload_type=st.integers(96, 127),
    marker=st.booleans(),
)


def numbered(sequence: int) -> RtpPacket:
    return RtpPacket(sequence & 0xFFFF, sequence * 960 & 0xFFFFFFFF, b"x")


# --- packets ---


@given(packet=packets)
def test_a_packet_comes_back_from_its_bytes_here_and_elsewhere(packet):
    data = packet.to_bytes()
    assert RtpPacket.parse(data) == packet
    other = Aiortc.parse(data)
    assert (other.sequence_number, other.timestamp, other.ssrc) == (packet.sequence, packet.timestamp, packet.ssrc)
    assert (other.payload, bool(other.marker)) == (packet.payload, packet.marker)


def test_extensions_sources_and_padding_are_passed_over():
    other = Aiortc(payload_type=111, sequence_number=5, timestamp=960, ssrc=7, payload=b"voice")
    other.csrc = [1, 2, 3]
    other.padding_size = 4
    data = bytearray(other.serialize())
    data[0] |= 0x10
    data[24:24] = b"\xbe\xde\x00\x02" + bytes(8)
    assert RtpPacket.parse(bytes(data)) == RtpPacket(5, 960, b"voice", 7, 111)


@given(data=st.binary(max_size=60))
def test_no_bytes_do_more_than_raise_the_format_error(data):
    try:
        packet = RtpPacket.parse(data)
    except RtpFormatError:
        return
    assert len(packet.payload) <= len(data) - 12


@given(start=st.integers(0, 65_535), step=st.integers(-32_768, 32_767))
def test_distances_are_signed_across_the_wrap(start, step):
    assert signed_distance((start + step) & 0xFFFF, start, 16) == step


# --- order ---


def test_packets_in_order_go_straight_through_across_the_wrap():
    buffer = ReorderBuffer()
    for n in range(65_530, 65_550):
        ((index, packet),) = buffer.push(numbered(n), n * 20.0)
        assert (index, packet.sequence) == (n, n & 0xFFFF)
    assert not buffer.waiting


def test_a_gap_is_waited_for_only_so_long():
    buffer = ReorderBuffer(ReorderOptions(floor_ms=20))
    buffer.push(numbered(1), 0)
    assert buffer.push(numbered(3), 40) == []
    assert buffer.push(numbered(4), 55) == []
    assert buffer.expire(59) == []
    assert [index for index, _ in buffer.expire(60)] == [3, 4]
    assert buffer.lost == 1
    assert buffer.push(numbered(2), 61) == []
    assert (buffer.late, buffer.received, buffer.duplicates) == (1, 3, 0)


def test_two_gaps_are_waited_for_each_from_its_own_time():
    buffer = ReorderBuffer(ReorderOptions(floor_ms=20))
    buffer.push(numbered(1), 0)
    buffer.push(numbered(3), 40)
    buffer.push(numbered(5), 55)
    assert [index for index, _ in buffer.expire(60)] == [3]
    assert [index for index, _ in buffer.expire(75)] == [5]


def test_the_wait_follows_lateness_between_floor_and_ceiling_and_forgets():
    buffer = ReorderBuffer(ReorderOptions(floor_ms=20, ceiling_ms=100))
    assert buffer.wait_ms == 20
    buffer.push(numbered(1), 0)
    buffer.push(numbered(3), 40)
    buffer.expire(60)
    buffer.push(numbered(2), 88)  # late by 48 ms
    assert buffer.wait_ms == pytest.approx(60, abs=1)
    for n in range(4, 2_000):
        buffer.push(numbered(n), n * 20.0)
    assert buffer.wait_ms == 20
    buffer.push(numbered(2_001), 40_020)
    buffer.expire(40_100)
    buffer.push(numbered(2_000), 45_000)
    assert buffer.wait_ms == 100


def test_a_packet_is_late_by_those_that_overtook_it_not_by_those_that_wait_for_another():
    buffer = ReorderBuffer(ReorderOptions(floor_ms=20, ceiling_ms=100))
    buffer.push(numbered(0), 0)
    buffer.push(numbered(2), 30)  # 1 is lost
    buffer.push(numbered(4), 47)
    buffer.push(numbered(3), 49)
    assert buffer.reordered == 1
    assert buffer.wait_ms == 20


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2])
def test_losses_do_not_make_the_wait_longer_than_packets_swap_places_for(loss):
    chance = random.Random(4)
    buffer = ReorderBuffer()
    for at, n in sorted((20 * n + chance.random() * 60, n) for n in range(3_000) if chance.random() >= loss):
        buffer.expire(at)
        buffer.push(numbered(n), at)
    assert 30 < buffer.wait_ms <= 1.25 * 60


def test_what_waits_is_bounded():
    buffer = ReorderBuffer(ReorderOptions(max_held=5, ceiling_ms=10_000, floor_ms=10_000))
    buffer.push(numbered(0), 0)
    held = [buffer.push(numbered(n), 1.0) for n in range(2, 7)]
    assert held == [[]] * 5
    assert [index for index, _ in buffer.push(numbered(7), 1.0)] == [2, 3, 4, 5, 6, 7]


def test_numbering_that_jumps_is_believed_at_the_second_packet():
    buffer = ReorderBuffer()
    buffer.push(numbered(100), 0)
    assert buffer.push(numbered(30_000), 20) == []
    assert buffer.push(numbered(101), 40)[0][0] == 101  # it was a stray
    assert buffer.push(numbered(30_000), 60) == []
    ((index, packet),) = buffer.push(numbered(30_001), 80)
    assert packet.sequence == 30_001
    assert index == 30_001
    assert buffer.push(numbered(9), 100) == []
    ((later, packet),) = buffer.push(numbered(10), 120)
    assert (packet.sequence, buffer.restarts) == (10, 2)
    assert later > index


@given(
    count=st.integers(1, 120),
    start=st.integers(0, 65_535),
    loss=st.floats(0, 0.5),
    seed=st.integers(0, 1_000),
    spread_ms=st.floats(0, 300),
)
def test_whatever_comes_leaves_in_order_and_once(count, start, loss, seed, spread_ms):
    chance = random.Random(seed)
    arrivals = []
    for n in range(count):
        if n and chance.random() < loss:
            continue
        copies = 1 + (chance.random() < 0.2)
        arrivals += [(n * 20 + (chance.random() * spread_ms if n else 0), n) for _ in range(copies)]
    buffer = ReorderBuffer()
    released = []
    for at_ms, n in sorted(arrivals):
        released += buffer.push(numbered(start + n), at_ms)
        released += buffer.expire(at_ms)
    released += buffer.expire(1e9)
    indices = [index for index, _ in released]
    assert indices == sorted(set(indices))
    assert all(packet.sequence == index & 0xFFFF for index, packet in released)
    assert len(released) == buffer.received
    assert buffer.received + buffer.duplicates + buffer.late == len(arrivals)
    assert buffer.received + buffer.lost == indices[-1] - indices[0] + 1


# --- positions ---


def test_samples_follow_timestamps_without_ever_losing_a_fraction():
    timeline = Timeline(48_000, 16_000)
    total = sum(timeline.advance(position) for position in range(0, 48_001, 7))
    assert total == timeline.made == 48_000 // 7 * 7 // 3
    assert timeline.advance(10) == 0


def test_a_restart_owes_nothing_for_the_way_there():
    timeline = Timeline(48_000, 16_000)
    timeline.advance(960)
    timeline.restart(5_000_000)
    assert timeline.advance(5_000_960) == 320
    assert timeline.made == 640


def test_the_shortest_transit_decides_what_is_due():
    timeline = Timeline(48_000, 16_000)
    for n, delay_ms in enumerate((50, 30, 80, 40)):
        timeline.arrived(n * 960, n * 20 + delay_ms)
    assert timeline.due(1_030, 0) == 48_000
    assert timeline.due(1_030, 60) == 48_000 - 60 * 48


def test_timestamps_wrap():
    timeline = Timeline(48_000, 16_000)
    timeline.restart((1 << 32) - 960)
    assert timeline.extend(0) == 1 << 32
    assert timeline.extend((1 << 32) - 1_920) == (1 << 32) - 1_920


# --- reports ---


def test_a_steady_stream_has_no_jitter_and_no_loss():
    reception = Reception(48_000)
    assert reception.report() is None
    for n in range(100):
        reception.add(numbered(65_500 + n), n * 20.0)
    report = reception.report()
    assert report is not None
    assert (report.packets_lost, report.fraction_lost, report.jitter) == (0, 0, 0)
    assert report.highest_sequence == 65_599


def test_loss_is_reported_in_all_and_since_the_last_report():
    reception = Reception(48_000)
    for n in range(100):
        if n % 4 != 1:
            reception.add(numbered(n), n * 20.0)
    first = reception.report()
    for n in range(100, 200):
        reception.add(numbered(n), n * 20.0)
    second = reception.report()
    assert first is not None
    assert second is not None
    assert (first.packets_lost, first.fraction_lost) == (25, 64)
    assert (second.packets_lost, second.fraction_lost) == (25, 0)


def test_duplicates_make_loss_negative_as_the_standard_has_it():
    reception = Reception(48_000)
    for _ in range(3):
        reception.add(numbered(1), 0.0)
    report = reception.report()
    assert report is not None
    assert (report.packets_lost, report.fraction_lost) == (-2, 0)


def test_jitter_settles_at_the_deviation_of_spacing():
    reception = Reception(48_000)
    for n in range(500):
        reception.add(numbered(n), n * 20.0 + (n % 2) * 8)
    assert reception.jitter_ms == pytest.approx(8, abs=0.1)
