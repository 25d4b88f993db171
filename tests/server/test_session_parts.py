"""What stands between a session and its socket: replay, positions of encoded speech, options."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.budget_profiles import profile
from agents.core.options import Identity
from agents.events import AudioOut, AudioOutEnded, Interrupted, MouthShape, ReplyText, VisemesOut
from audio.formats import AudioFormat, Encoding, Samples
from server.contracts.session import Output, TurnDetection, VoiceSettings
from server.latency_choice import SessionLatency
from server.sessions.delivery import VoiceDelivery
from server.sessions.replay import ReplayBuffer
from server.sessions.speech_out import SpeechEncoder, session_rate_hz
from server.sessions.voice_options import WAITS, session_options, turn_policy
from server.wire.voice_json import VoiceCodec


@given(sizes=st.lists(st.integers(1, 50), max_size=40), limit=st.integers(0, 200), seen=st.integers(0, 45))
def test_a_replay_gives_what_came_after_and_counts_what_is_lost(sizes: list[int], limit: int, seen: int) -> None:
    replay = ReplayBuffer(limit)
    for number, size in enumerate(sizes, start=1):
        replay.append(number, "x" * size)
    seen = min(seen, len(sizes))
    kept = replay.after(seen)
    assert sum(len(frame) for _, frame in replay.after(0)) <= limit
    assert [number for number, _ in kept] == list(range(len(sizes) - len(kept) + 1, len(sizes) + 1))
    assert len(kept) + replay.missed(seen) == len(sizes) - seen


def out(turn: str, samples: int, rate_hz: int, start_ms: int) -> AudioOut:
    return AudioOut(turn, np.full(samples, 1_000, np.int16), rate_hz, start_ms)


@pytest.mark.parametrize(
    "output",
    [
        AudioFormat(Encoding.PCM16, 24_000),
        AudioFormat(Encoding.PCM16, 8_000),
        AudioFormat(Encoding.G711_ULAW, 8_000),
        AudioFormat(Encoding.OPUS, 48_000),
    ],
)
def test_positions_of_encoded_speech_follow_each_other_without_gaps(output: AudioFormat) -> None:
    rate_hz = session_rate_hz(output)
    encoder = SpeechEncoder(output, rate_hz)
    stretches = [
        piece for at in range(0, 600, 60) for piece in encoder.encode(out("t", rate_hz * 60 // 1_000, rate_hz, at))
    ]
    stretches += encoder.finish()
    end_ms = 0
    for stretch in stretches:
        assert stretch.start_ms == end_ms
        end_ms += stretch.audio_ms
    assert 600 <= end_ms <= 640


def test_speech_that_steps_back_after_a_hold_is_placed_where_it_says() -> None:
    encoder = SpeechEncoder(AudioFormat(Encoding.OPUS, 48_000), 24_000)
    encoder.encode(out("t", 24_000, 24_000, 0))
    assert encoder.encode(out("t", 4_800, 24_000, 300))[0].start_ms == 300


def test_an_interruption_drops_what_the_codec_held() -> None:
    encoder = SpeechEncoder(AudioFormat(Encoding.OPUS, 48_000), 24_000)
    encoder.encode(out("t", 100, 24_000, 0))
    encoder.drop()
    assert encoder.finish() == []


def delivery(**output: object) -> VoiceDelivery:
    codec = VoiceCodec("req_1")
    codec.feed('{"type": "voice.start", "binary": true, "output": {"modalities": ["audio"], "captions": false}}')
    made = VoiceDelivery(codec, ReplayBuffer(100_000), lambda: 1)
    made.open_audio(AudioFormat(Encoding.PCM16, 24_000), 24_000)
    return made


def test_every_frame_has_the_next_id_and_is_kept() -> None:
    told = delivery()
    frames = [
        *told.frames(out("t", 480, 24_000, 0)),
        *told.frames(out("t", 480, 24_000, 20)),
        *told.frames(AudioOutEnded("t", 40)),
        *told.frames(Interrupted("t", 10, "hm", resumable=False)),
    ]
    assert [frame for _, frame in told.replay.after(0)] == frames
    assert [number for number, _ in told.replay.after(0)] == list(range(1, 6))


@pytest.mark.parametrize("wanted", [False, True])
def test_mouth_shapes_are_told_to_those_who_asked(wanted: bool) -> None:
    told = delivery()
    told.codec.feed(json.dumps({"type": "voice.update", "output": {"visemes": wanted}}))
    frames = told.frames(VisemesOut("t", (MouthShape(3, 40),)))
    assert [json.loads(frame)["visemes"] for frame in frames] == [[{"viseme_id": 3, "at_ms": 40}]] * wanted


class Track:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.samples = 0

    def play(self, samples: Samples, rate_hz: int) -> None:
        self.samples += len(samples)

    def finish(self) -> None:
        """Nothing."""

    def clear(self) -> None:
        self.samples = 0


@pytest.mark.parametrize("back", ["track", "frames"])
def test_what_is_said_while_nobody_is_attached_is_heard_afterwards(back: str) -> None:
    told, first, second = delivery(), Track(), Track()
    told.carry_audio(first)
    told.frames(out("t", 480, 24_000, 0))
    told.keep_audio(first)
    told.frames(out("t", 960, 24_000, 20))
    assert (first.samples, told.replay.last_id) == (480, 0)
    told.carry_audio(second if back == "track" else None)
    assert second.samples == (960 if back == "track" else 0)
    assert len(told.replay.after(0)) == (0 if back == "track" else 2)  # whose audio it is, then the audio


@pytest.mark.parametrize("back", ["track", "frames"])
def test_a_connection_that_ends_after_another_took_over_silences_nobody(back: str) -> None:
    told, first, second = delivery(), Track(), Track()
    told.carry_audio(first)
    told.carry_audio(second if back == "track" else None)
    told.keep_audio(first)
    frames = told.frames(out("t", 480, 24_000, 0))
    assert (second.samples, len(frames)) == ((480, 0) if back == "track" else (0, 2))


def test_only_the_newest_of_a_long_absence_is_kept_and_nothing_of_an_interrupted_turn() -> None:
    told, gone, track = delivery(), Track(), Track()
    told.carry_audio(gone)
    told.keep_audio(gone)
    for second in range(9):
        told.frames(out("t", 24_000, 24_000, second * 1_000))
    told.carry_audio(track)
    assert track.samples == 5 * 24_000
    told.keep_audio(track)
    told.frames(out("t", 24_000, 24_000, 9_000))
    told.frames(Interrupted("t", 10, "hm", resumable=False))
    late = Track()
    told.carry_audio(late)
    assert late.samples == 0


def test_what_the_client_did_not_ask_for_is_not_sent_and_takes_no_id() -> None:
    told = delivery()
    assert told.frames(ReplyText("t", "hello")) == []
    assert told.replay.last_id == 0


@given(
    low=st.none() | st.integers(0, 10_000),
    high=st.none() | st.integers(100, 60_000),
    interrupt=st.integers(0, 2_000),
    patience=st.sampled_from(sorted(WAITS)),
)
def test_every_valid_turn_detection_makes_a_valid_policy(
    low: int | None, high: int | None, interrupt: int, patience: str
) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, max(low, 100)
    detection = TurnDetection(min_wait_ms=low, max_wait_ms=high, interrupt_after_ms=interrupt)
    policy = turn_policy(detection, patience)  # type: ignore[arg-type]
    assert high is None or policy.max_wait_ms == high
    assert low is None or policy.min_wait_ms == low or high is None or low > high
    assert policy.auto_end == (patience != "never")


def test_how_long_a_clause_may_be_finished_reaches_the_policy() -> None:
    assert turn_policy(TurnDetection(finish_clause_ms=1_500), "normal").finish_clause_ms == 1_500


def test_push_to_talk_and_text_only_reach_the_session() -> None:
    settings = VoiceSettings(turn_detection=TurnDetection(type="push_to_talk"), output=Output(modalities=("text",)))
    options = session_options(settings, Identity("ses_1"), SessionLatency(profile("embedded")))
    assert (options.policy.auto_end, options.speak) == (False, False)
