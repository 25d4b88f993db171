"""Audio that was made while its client was away: counted when it is sent after all, and only then."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.events import AudioOut
from audio.formats import AudioFormat, Encoding, Samples
from server.sessions.delivery import VoiceDelivery
from server.sessions.replay import ReplayBuffer
from server.sessions.unsent import UnsentAudio
from server.wire.voice_json import VoiceCodec


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.data())
def test_what_is_still_kept_is_counted_once_and_what_made_room_never(frames: list[int], data: st.DataObject) -> None:
    unsent, last_id, kept = UnsentAudio(), 0, list[tuple[int, int]]()
    for number, count in enumerate(frames):
        last_id += count
        unsent.keep(last_id, 2**number)
        kept.append((last_id, 2**number))
    oldest = data.draw(st.integers(0, last_id + 1))
    unsent.forget(oldest)
    counted = sum(unsent.take(event_id) for event_id in range(oldest, last_id + 1))
    assert counted == sum(length for event_id, length in kept if event_id >= oldest)
    assert unsent.take(last_id) == 0


class Track:
    """Takes the agent's voice and keeps it."""

    def __init__(self) -> None:
        self.played: list[Samples] = []

    def play(self, samples: Samples, rate_hz: int) -> None:
        self.played.append(samples)

    def finish(self) -> None:
        """Nothing is held back."""

    def clear(self) -> None:
        """Nothing is queued."""


def test_what_a_lost_track_left_is_given_out_with_the_next_one() -> None:
    delivery = VoiceDelivery(VoiceCodec("ses_1"), ReplayBuffer(1 << 20), lambda: 0)
    delivery.open_audio(AudioFormat(Encoding.PCM16, 24_000), 24_000)
    first, second = Track(), Track()
    assert delivery.carry_audio(first) == []
    events = [AudioOut("turn_1", np.zeros(1_440, np.int16), 24_000, 60 * n) for n in range(4)]
    delivery.frames(events[0])
    delivery.keep_audio(first)
    assert delivery.waits
    for event in events[1:]:
        assert delivery.frames(event) == []
    assert delivery.carry_audio(second) == events[1:]
    assert not delivery.waits
    assert (len(first.played), len(second.played)) == (1, 3)
