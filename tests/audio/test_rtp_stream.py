"""A sender's Opus stream over a bad network: heard at once, in order, whole, and never out of step with its sender."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rtp_network import Network, Sender, hear, tone

from audio.codecs.libopus import EncoderOptions, LibopusDecoder, LibopusEncoder
from audio.rtp.opus_stream import OpusStream
from audio.rtp.packet import RtpPacket
from audio.wav import read_wav

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav"


def speech() -> np.ndarray:
    samples, rate_hz = read_wav(SPEECH)
    assert rate_hz == 16_000
    return samples


def coded(samples: np.ndarray) -> np.ndarray:
    """What the codec alone makes of samples."""
    decoder = LibopusDecoder(16_000)
    return np.concatenate([decoder.decode(one.packet.payload) for one in Sender().send(samples)])


def heard(samples: np.ndarray, network: Network, tail_ms: float = 200.0, **sender) -> tuple[np.ndarray, OpusStream]:
    arrivals = network.carry(Sender(**sender).send(samples))
    stream = OpusStream(0.0)
    parts = [part for _, part in hear(stream, arrivals, len(samples) / 16 + tail_ms)]
    return np.concatenate(parts), stream


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Highest correlation over shifts up to 150 ms either way."""
    size = 1 << (len(one) + len(other)).bit_length()
    product = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)))
    return float(product.max() / (np.linalg.norm(one.astype(float)) * np.linalg.norm(other.astype(float))))


def test_on_a_good_network_every_packet_is_heard_the_moment_it_comes():
    stream = OpusStream(0.0)
    for arrives_ms, packet in Network().carry(Sender().send(tone(1.0))):
        assert len(stream.receive(packet, arrives_ms)) == 320
    stats = stream.stats
    assert (stats.received, stats.lost, stats.concealed, stats.duplicates) == (50, 0, 0, 0)
    assert stats.jitter_ms < 0.01


def test_speech_over_a_good_network_is_the_same_speech():
    samples, stream = heard(speech(), Network())
    assert likeness(samples, coded(speech())) > 0.95
    assert stream.stats.silence_ms < 300  # only before the first packet and after the last


@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
def test_packets_of_any_length_keep_their_time_with_and_without_loss(frame_ms):
    encoder = LibopusEncoder(16_000, EncoderOptions(expected_loss_percent=20))
    size, samples = 16 * frame_ms, tone(1.2)
    packets = [
        RtpPacket(n, n * frame_ms * 48, encoder.encode(samples[n * size : (n + 1) * size]))
        for n in range(1_200 // frame_ms)
    ]
    for lost in ((), (5, 6, 11)):
        stream = OpusStream(0.0)
        for n, packet in enumerate(packets):
            if n not in lost:
                stream.tick(n * frame_ms)
                stream.receive(packet, n * frame_ms)
        stream.tick(1_199)
        assert stream.made == 1_200 // frame_ms * size


def test_a_lost_packet_is_recovered_from_the_next_one_and_heard_when_the_wait_is_over():
    sent = Sender().send(speech())
    stream = OpusStream(0.0)
    lost = 60
    for one in sent[:lost]:
        stream.receive(one.packet, one.at_ms)
    assert len(stream.receive(sent[lost + 1].packet, sent[lost + 1].at_ms)) == 0
    assert len(stream.tick(sent[lost + 1].at_ms + 10)) == 0
    assert len(stream.tick(sent[lost + 1].at_ms + 20)) == 640
    assert stream.stats.recovered + stream.stats.concealed == 1
    assert len(stream.receive(sent[lost + 2].packet, sent[lost + 2].at_ms + 5)) == 320


def test_two_packets_that_changed_places_lose_nothing():
    sent = Sender().send(tone(0.2))
    stream = OpusStream(0.0)
    order = [0, 1, 3, 2, 4, 5]
    lengths = [len(stream.receive(sent[at].packet, 20.0 * n)) for n, at in enumerate(order)]
    assert lengths == [320, 320, 0, 640, 320, 320]
    assert stream.stats.lost == 0


def test_where_packets_come_late_the_wait_grows_until_nothing_is_lost_any_more():
    network = Network(swapped=0.1, swapped_by_ms=70.0, seed=3)
    arrivals = network.carry(Sender().send(np.tile(speech(), 4)))
    stream = OpusStream(0.0)
    half = len(arrivals) // 2
    for arrives_ms, packet in arrivals[:half]:
        stream.tick(arrives_ms)
        stream.receive(packet, arrives_ms)
    lost_before = stream.stats.lost
    assert lost_before > 0
    assert 60 < stream.stats.wait_ms <= 120
    for arrives_ms, packet in arrivals[half:]:
        stream.tick(arrives_ms)
        stream.receive(packet, arrives_ms)
    assert stream.stats.lost - lost_before <= 1


def test_forward_error_correction_keeps_speech_recognisable_at_ten_percent_loss():
    samples, stream = heard(speech(), Network(loss=0.1, seed=5))
    assert stream.stats.recovered >= 4
    assert likeness(samples, coded(speech())) > 0.9


def test_a_silent_sender_costs_no_time_and_silence_comes_as_it_passes():
    """Half a second of voice, three seconds of silence the sender does not send, voice again."""
    samples = np.concatenate([tone(0.5), np.zeros(48_000, np.int16), tone(0.5)])
    arrivals = Network().carry(Sender(dtx=True).send(samples))
    assert len(arrivals) < 80
    stream = OpusStream(0.0)
    total = 0
    for now_ms, part in hear(stream, arrivals, 4_000):
        total += len(part)
        if now_ms > 300:
            assert now_ms - total / 16 == pytest.approx(80, abs=60)
    assert total == stream.made


@pytest.mark.parametrize("timestamps_go_on", [True, False])
def test_a_sender_that_pauses_without_a_word_is_followed_again(timestamps_go_on):
    """A muted track: no packets for two seconds; some senders' timestamps stand still meanwhile."""
    sender = Sender()
    first = sender.send(tone(0.5))
    if timestamps_go_on:
        sender.timestamp = (sender.timestamp + 96_000) & 0xFFFFFFFF
    second = sender.send(tone(1.5), 2_500)
    stream = OpusStream(0.0)
    parts = list(hear(stream, Network().carry(first + second), 4_050))
    assert stream.made / 16 == pytest.approx(4_000, abs=300)
    loud = sum(np.abs(part.astype(int)).max(initial=0) > 4_000 for _, part in parts)
    assert loud >= 85  # of the hundred; a pause without timestamps may cost its first moments


def test_a_stalled_network_gives_its_speech_back_when_it_moves_again():
    sent = Sender().send(tone(2.0))
    stalled = [(max(one.at_ms, 900.0) if 500 < one.at_ms < 900 else one.at_ms, one.packet) for one in sent]
    stream = OpusStream(0.0)
    parts = [part for _, part in hear(stream, stalled, 2_000)]
    assert stream.stats.late == 0
    assert stream.stats.silence_ms <= 20
    assert sum(map(len, parts)) / 16 == pytest.approx(2_000, abs=60)


def test_after_a_long_stall_what_silence_stood_in_for_is_dropped():
    sent = Sender().send(tone(4.0))
    stalled = [(max(one.at_ms, 2_500.0) if 500 < one.at_ms < 2_500 else one.at_ms, one.packet) for one in sent]
    stream = OpusStream(0.0)
    for _ in hear(stream, stalled, 4_000):
        pass
    assert stream.made / 16 == pytest.approx(4_000, abs=100)
    assert stream.stats.late > 50


def test_of_a_dead_path_only_what_was_made_up_counts_as_concealed_the_rest_is_silence():
    sent = [one for one in Sender().send(tone(8)) if not 2_000 < one.at_ms <= 7_000]
    stream = OpusStream(0.0)
    for _, part in hear(stream, [(one.at_ms, one.packet) for one in sent], 8_000):
        assert len(part) <= 16_000
    stats = stream.stats
    assert stats.lost == 250
    assert 0 < stats.recovered + stats.concealed <= 6
    assert stats.silence_ms == pytest.approx(5_000, abs=150)
    assert stats.late == 0


def test_a_listener_hears_silence_before_the_first_packet():
    stream = OpusStream(1_000.0)
    total = sum(len(stream.tick(1_000.0 + 20 * n)) for n in range(51))
    assert total / 16 == pytest.approx(1_000, abs=80)


def test_another_ssrc_goes_on_where_the_first_one_stood():
    stream = OpusStream(0.0)
    for one in Sender(ssrc=1).send(tone(0.4)):
        stream.receive(one.packet, one.at_ms)
    for one in Sender(ssrc=2, sequence=9, timestamp=77).send(tone(0.4), 400):
        assert len(stream.receive(one.packet, one.at_ms)) == 320
    assert stream.ssrc == 2
    assert stream.stats.received == 40


@pytest.mark.parametrize("jump", [40_000_000, -40_000_000])
def test_a_jump_of_timestamps_does_not_become_minutes_of_silence(jump):
    sender = Sender()
    sent = sender.send(tone(0.4))
    sender.timestamp = (sender.timestamp + jump) & 0xFFFFFFFF
    sent += sender.send(tone(1.0), 400)
    stream = OpusStream(0.0)
    for one in sent:
        stream.receive(one.packet, one.at_ms)
    assert 1_100 <= stream.made / 16 <= 1_420


def test_a_sender_whose_numbering_begins_anew_is_followed():
    sender = Sender()
    sent = sender.send(tone(0.4))
    sender.sequence = 20_000
    sent += sender.send(tone(0.4), 400)
    stream = OpusStream(0.0)
    for one in sent:
        stream.receive(one.packet, one.at_ms)
    assert stream.made / 16 == pytest.approx(800, abs=21)


def test_a_sender_that_runs_faster_than_time_is_held_to_it():
    sent = Sender().send(tone(10.0))
    stream = OpusStream(0.0)
    for n, one in enumerate(sent):
        stream.receive(one.packet, n * 4.0)
    assert stream.made / 16 <= 2_000 + 2_000 + 20


def test_bytes_that_are_not_opus_are_counted_and_passed_over():
    sent = [one.packet for one in Sender().send(tone(0.2))]
    stream = OpusStream(0.0)
    for n, packet in enumerate(sent):
        stream.receive(replace(packet, payload=b"\xff\xff\xff") if n == 5 else packet, 20.0 * n)
    assert stream.stats.invalid == 1
    assert stream.made == 10 * 320


networks = st.builds(
    Network,
    loss=st.floats(0, 0.4),
    duplication=st.floats(0, 0.3),
    swapped=st.floats(0, 0.3),
    swapped_by_ms=st.floats(0, 150),
    jitter_ms=st.floats(0, 40),
    seed=st.integers(0, 10_000),
)


@settings(max_examples=40)
@given(network=networks, dtx=st.booleans(), pause_ms=st.integers(0, 2_000))
def test_whatever_the_network_does_the_total_keeps_pace_with_the_sender(network, dtx, pause_ms):
    samples = np.concatenate([tone(0.6), np.zeros(pause_ms * 16, np.int16), tone(0.6)])
    arrivals = network.carry(Sender(dtx=dtx).send(samples))
    stream = OpusStream(0.0)
    total = 0
    end_ms = len(samples) / 16
    for now_ms, part in hear(stream, arrivals, end_ms):
        assert part.dtype == np.int16
        total += len(part)
        assert total / 16 <= now_ms + 100
        assert total / 16 >= now_ms - 700 or now_ms < 100
    assert total == stream.made
    for n in range(1, 80):
        total += len(stream.tick(end_ms + 10 * n))
    assert total / 16 == pytest.approx(end_ms + 680, abs=150)
    stats = stream.stats
    assert stats.recovered + stats.concealed <= stats.lost
    assert stats.received <= len(arrivals)


@settings(max_examples=60)
@given(
    packets=st.lists(
        st.builds(
            RtpPacket,
            sequence=st.integers(0, 65_535),
            timestamp=st.integers(0, 2**32 - 1),
            payload=st.binary(max_size=60),
            ssrc=st.integers(1, 3),
            marker=st.booleans(),
        ),
        max_size=60,
    )
)
def test_no_packets_do_more_than_bounded_work(packets):
    stream = OpusStream(0.0)
    total = 0
    for n, packet in enumerate(packets):
        total += len(stream.receive(packet, 20.0 * n)) + len(stream.tick(20.0 * n + 10))
    assert total == stream.made
    assert total / 16 <= 20 * len(packets) + 4_000
