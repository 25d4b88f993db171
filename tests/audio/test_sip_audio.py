"""The telephone's side of audio: G.722, loss concealed, drift corrected over an hour, keys as events."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from audio.codecs.g711 import G711Encoder
from audio.codecs.g722 import G722Decoder, G722Encoder
from audio.codecs.port import MAX_PAYLOAD_MS
from audio.errors import AudioFormatError
from audio.formats import Encoding, Samples
from audio.rtp.concealment import Concealer
from audio.rtp.drift import DriftCorrector
from audio.rtp.packet import RtpPacket
from audio.rtp.telephone_event import KEYS, KeysHeard, KeysPressed
from audio.rtp.telephone_payloads import G711Payloads, G722Payloads
from audio.rtp.voice_stream import VoiceStream


def tone(ms: int, rate_hz: int = 8_000, hz: float = 200.0) -> Samples:
    return (np.sin(np.arange(ms * rate_hz // 1_000) * 2 * np.pi * hz / rate_hz) * 8_000).astype(np.int16)


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


# --- G.722 ---


def test_g722_gives_back_what_was_said_22_samples_later() -> None:
    said = tone(1_000, 16_000, 440.0)
    encoder, decoder = G722Encoder(), G722Decoder()
    payloads = [payload for at in range(0, len(said), 320) for payload in encoder.encode(said[at : at + 320])]
    assert {len(payload) for payload in payloads} == {160}
    heard = np.concatenate([decoder.decode(payload) for payload in payloads])
    assert len(heard) == len(said)
    error = heard[2_022:14_022].astype(float) - said[2_000:14_000]
    assert loudness(said) / np.sqrt(np.mean(error**2)) > 10 ** (20 / 20)


def test_g722_takes_any_number_of_samples() -> None:
    said = tone(60, 16_000)
    whole, pieces = G722Encoder(), G722Encoder()
    expected = b"".join([*whole.encode(said), *whole.flush()])
    cuts = [0, 1, 4, 9, 320, 321, len(said)]
    given = [payload for start, end in itertools.pairwise(cuts) for payload in pieces.encode(said[start:end])]
    assert b"".join([*given, *pieces.flush()]) == expected
    assert G722Encoder().flush() == []
    assert G722Encoder().encode(said[:0]) == []


def test_g722_refuses_what_is_too_long() -> None:
    with pytest.raises(AudioFormatError):
        G722Decoder().decode(bytes(MAX_PAYLOAD_MS * 8 + 1))
    assert len(G722Decoder().decode(b"")) == 0


# --- loss ---


def test_what_is_lost_goes_on_as_it_was_and_fades() -> None:
    concealer = Concealer(8_000)
    said = tone(200)
    concealer.good(said[:1_280])
    made = concealer.conceal(800)
    first = made[:160].astype(float)
    likeness = np.dot(first, said[1_280:1_440]) / (np.linalg.norm(first) * np.linalg.norm(said[1_280:1_440]))
    assert likeness > 0.95, "a steady tone goes on in phase"
    assert loudness(made[:80]) > 0.8 * loudness(said)
    assert loudness(made[480:]) == 0.0


def test_what_comes_after_a_loss_is_joined_without_a_step() -> None:
    concealer = Concealer(8_000)
    concealer.good(tone(100))
    made = concealer.conceal(80)
    joined = concealer.good(np.full(160, -8_000, np.int16))
    assert abs(int(joined[0]) - int(made[-1])) < 2_500
    assert joined[-1] == -8_000
    assert concealer.good(tone(20))[0] == 0, "only the first is joined"


def packets_of(samples: Samples, encoding: Encoding = Encoding.G711_ULAW) -> list[RtpPacket]:
    encoder = G711Encoder(encoding)
    return [
        RtpPacket(100 + at, 5_000 + at * 160, encoder.encode(samples[at * 160 : at * 160 + 160])[0], 7)
        for at in range(len(samples) // 160)
    ]


def test_a_lost_packet_of_g711_is_made_up_in_its_place() -> None:
    said = tone(400)
    stream = VoiceStream(G711Payloads(Encoding.G711_ULAW), 0.0)
    heard: list[Samples] = []
    for at, packet in enumerate(packets_of(said)):
        now_ms = 20.0 * at
        if at != 10:
            heard.append(stream.receive(packet, now_ms))
        heard.append(stream.tick(now_ms + 5))
        heard.append(stream.tick(now_ms + 15))
    together = np.concatenate(heard)
    assert len(together) == len(said)
    assert loudness(together[1_600:1_760]) > 0.7 * loudness(said)
    assert (stream.stats.lost, stream.stats.concealed) == (1, 1)


def test_g722_is_placed_by_its_odd_clock() -> None:
    """Timestamps count at 8 kHz, samples at 16 kHz."""
    stream = VoiceStream(G722Payloads(), 0.0)
    encoder = G722Encoder()
    total = 0
    for at in range(50):
        payload = encoder.encode(tone(20, 16_000))[0]
        total += len(stream.receive(RtpPacket(at, at * 160, payload, 7), 20.0 * at))
    assert total == 50 * 320


def test_packets_without_audio_are_no_loss() -> None:
    stream = VoiceStream(G711Payloads(Encoding.G711_ULAW), 0.0)
    total = 0
    packets = packets_of(tone(400))
    for at, packet in enumerate(packets):
        event = 5 <= at < 12
        total += len(stream.receive(packet, 20.0 * at, audio=not event))
        total += len(stream.tick(20.0 * at + 10))
    assert stream.stats.lost == stream.stats.concealed == 0
    assert total == 20 * 160


# --- drift ---


@pytest.mark.parametrize("parts_per_million", [-200, -50, 80, 200])
def test_an_hour_drifts_less_than_twenty_milliseconds(parts_per_million: int) -> None:
    generator = np.random.default_rng(1)
    corrector = DriftCorrector(8_000, 8_000)
    frame = np.zeros(160, np.int16)
    period_ms = 20.0 / (1 + parts_per_million / 1_000_000)
    total, worst = 0, 0.0
    for at in range(round(3_600_000 / period_ms)):
        sent_ms = at * period_ms
        corrector.arrived(1, (at * 160) & 0xFFFFFFFF, sent_ms + 30 + generator.exponential(4.0))
        total += len(corrector.correct(frame))
        worst = max(worst, abs(total / 8 - (sent_ms + period_ms)))
    assert worst < 20, f"{worst:.1f} ms"
    uncorrected = 3_600_000 * abs(parts_per_million) / 1_000_000
    assert uncorrected > 150, "the test would show it"


def test_a_sender_in_step_is_left_alone() -> None:
    corrector = DriftCorrector(8_000, 8_000)
    frame = tone(20)
    for at in range(30_000):
        corrector.arrived(1, at * 160, 20.0 * at + (at % 7))
        assert corrector.correct(frame) is frame
    assert corrector.applied_samples == 0


def test_another_sender_or_a_jump_is_no_drift() -> None:
    corrector = DriftCorrector(8_000, 8_000)
    for at in range(2_000):
        corrector.arrived(1, at * 160, 20.0 * at)
    for at in range(2_000, 4_000):
        corrector.arrived(2, at * 160 + 900_000, 20.0 * at + 50)
    for at in range(4_000, 6_000):
        corrector.arrived(2, at * 160 + 9_900_000, 20.0 * at + 90)
    assert abs(corrector.drift_ms) < 1


def test_a_sample_more_or_less_is_not_heard_as_a_step() -> None:
    corrector = DriftCorrector(8_000, 8_000)
    for at in range(2_000):
        corrector.arrived(1, at * 160, 20.001 * at)
    said = tone(20)
    stretched = corrector.correct(said)
    assert len(stretched) == 161
    assert int(np.abs(np.diff(stretched.astype(int))).max()) <= int(np.abs(np.diff(said.astype(int))).max())


# --- keys ---


def sent_keys(keys: str, clock_hz: int = 8_000) -> list[list[tuple[int, bytes, bool]]]:
    """Frame by frame: what would be sent, as timestamp, payload and marker."""
    pressed = KeysPressed(clock_hz)
    pressed.press(keys)
    frames: list[list[tuple[int, bytes, bool]]] = []
    while not pressed.idle:
        event = pressed.frame()
        now = len(frames) * clock_hz // 50
        sent = () if event is None else event.payloads
        frames.append(
            [
                (now - (event.frames_ago if event else 0) * clock_hz // 50, one, bool(event and event.marker))
                for one in sent
            ]
        )
    return frames


def test_every_key_arrives_once_whichever_packets_are_lost() -> None:
    packets = [packet for frame in sent_keys(KEYS) for packet in frame]
    for lost in range(4):
        ears = KeysHeard()
        heard = [
            ears.receive(RtpPacket(at, timestamp, payload, 7, 101, marker))
            for at, (timestamp, payload, marker) in enumerate(packets)
            if at % 4 != lost
        ]
        assert "".join(key for key in heard if key) == KEYS


def test_the_same_key_twice_is_two_keys() -> None:
    ears = KeysHeard()
    heard = [
        ears.receive(RtpPacket(0, timestamp, payload, 7, 101))
        for frame in sent_keys("11")
        for timestamp, payload, _ in frame
    ]
    assert [key for key in heard if key] == ["1", "1"]


def test_an_event_grows_and_its_end_is_said_three_times() -> None:
    frames = [frame for frame in sent_keys("5") if frame]
    payloads = [payload for frame in frames for _, payload, _ in frame]
    assert [int.from_bytes(payload[2:], "big") for payload in payloads] == [160, 320, 480, 640, 800, 960, 960, 960]
    assert [payload[1] >> 7 for payload in payloads] == [0, 0, 0, 0, 0, 1, 1, 1]
    assert {timestamp for frame in frames for timestamp, _, _ in frame} == {0}
    assert [marker for frame in frames for _, _, marker in frame] == [True, *[False] * 7]


def test_what_is_no_key_is_not_pressed() -> None:
    with pytest.raises(ValueError, match="substring"):
        KeysPressed(8_000).press("x")
    with pytest.raises(ValueError, match="too many"):
        KeysPressed(8_000).press("1" * 200)
    assert KeysHeard().receive(RtpPacket(0, 0, b"\x10\x80\x00\xa0")) is None
    assert KeysHeard().receive(RtpPacket(0, 0, b"\x01")) is None
