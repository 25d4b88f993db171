"""Audio that was made while its client was away: counted when it is sent after all, and only then."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.core.options import Identity as SessionIdentity
from agents.core.outbox import Outbox
from agents.core.sound_meter import SoundMeter
from agents.events import AudioOut
from audio.formats import AudioFormat, Encoding, Samples
from server.guard import LOCAL_USER
from server.observability.arrival import Arrival
from server.observability.metrics import Metrics
from server.observability.session_watch import SessionWatch
from server.sessions.delivery import VoiceDelivery
from server.sessions.live import LiveSession
from server.sessions.replay import ReplayBuffer
from server.sessions.unsent import UnsentAudio
from server.wire.voice_json import VoiceCodec
from tests.scripted_server import eventually


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


class Call:
    """A session as its host knows it: what it emits is told, and what was sent of it counted."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.sound = SoundMeter()
        self.ends = anyio.Event()

    async def run(self) -> None:
        await self.ends.wait()

    def close(self) -> None:
        self.ends.set()


class Slow:
    """A connection that sends nothing further until it may."""

    sending_since_s = None
    open = True

    def __init__(self) -> None:
        self.may, self.asked, self.sent = anyio.Event(), anyio.Event(), 0

    async def send(self, frame: str | bytes) -> None:
        self.asked.set()
        await self.may.wait()
        self.sent += 1

    async def close(self, code: int, reason: str = "") -> None:
        """Nothing to tell."""

    def cut(self, code: int, reason: str = "") -> None:
        """Nothing runs."""


@asynccontextmanager
async def hosted(delivery: VoiceDelivery) -> AsyncGenerator[tuple[Call, LiveSession]]:
    call: Any = Call()
    watch = SessionWatch(Metrics(), Arrival("websocket", 0.0))
    live = LiveSession(SessionIdentity("ses_1"), LOCAL_USER, call, delivery, watch, Metrics())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live.run)
        yield call, live
        live.end()


def seconds_out(at_s: int) -> AudioOut:
    return AudioOut("turn_1", np.zeros(24_000, np.int16), 24_000, 1_000 * at_s)


async def test_what_a_track_plays_while_its_client_is_still_told_what_it_missed_is_counted() -> None:
    delivery = VoiceDelivery(VoiceCodec("ses_1"), ReplayBuffer(1 << 20), lambda: 0)
    delivery.open_audio(AudioFormat(Encoding.PCM16, 24_000), 24_000)
    first, second, track, comes_back = Slow(), Track(), Track(), Slow()
    first.may.set()
    async with hosted(delivery) as (call, live):
        live.carry_audio(second)
        live.adopt(first)
        call.outbox.emit(seconds_out(0))
        await eventually(lambda: len(second.played) == 1)
        delivery.keep_audio(second)
        live.detach(first)
        call.outbox.emit(seconds_out(1))
        await eventually(lambda: not len(call.outbox))
        assert call.sound.take().sent_ms == 1_000
        live.carry_audio(track)
        assert call.sound.take().sent_ms == 1_000
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live.attach, comes_back, 0)
            await comes_back.asked.wait()
            call.outbox.emit(seconds_out(2))
            await eventually(lambda: len(track.played) == 2)
            comes_back.may.set()
        assert call.sound.take().sent_ms == 1_000


async def test_what_was_kept_for_a_track_and_goes_into_frames_is_counted_when_they_are_sent() -> None:
    delivery = VoiceDelivery(VoiceCodec("ses_1"), ReplayBuffer(1 << 20), lambda: 0)
    delivery.open_audio(AudioFormat(Encoding.PCM16, 24_000), 24_000)
    track, comes_back = Track(), Slow()
    comes_back.may.set()
    async with hosted(delivery) as (call, live):
        live.carry_audio(track)
        delivery.keep_audio(track)
        live.adopt(comes_back)
        live.detach(comes_back)
        call.outbox.emit(seconds_out(0))
        await eventually(lambda: not len(call.outbox))
        live.carry_audio(None)
        assert call.sound.take().sent_ms == 0
        await live.attach(comes_back, 0)
        assert call.sound.take().sent_ms == 1_000
