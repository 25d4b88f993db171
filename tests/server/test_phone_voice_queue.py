"""The agent's voice on its way to a carrier: frames, marks, clears and bounds; and a leg around them."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.codecs.g711 import G711Encoder
from audio.errors import AudioFormatError
from audio.formats import AudioFormat, Encoding, Samples
from server.telephony.port import CallControlError, CallInfo, HangUpReason
from server.transports.phone.stream_leg import EARLY_MS, StreamLeg
from server.transports.phone.voice_queue import MARK_EVERY_MS, MAX_WAITING_MS, VoiceQueue
from server.wire.phone.audiosocket import AudioSocketCodec
from server.wire.phone.port import Frame, StreamAudio, StreamEnded, StreamKey, StreamMark, StreamTraits, together
from server.wire.phone.twilio import TwilioCodec
from tests.scripted_server import eventually

ULAW = AudioFormat(Encoding.G711_ULAW, 8_000)
SLIN = AudioFormat(Encoding.PCM16, 8_000)
INFO = CallInfo("call_1", "test", "T1", "inbound")


def ramp(ms: int) -> Samples:
    return (np.arange(ms * 8) % 2_000 - 1_000).astype(np.int16)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_frames_of_one_length_hold_all_of_it_and_then_silence(lengths: list[int]) -> None:
    queue = VoiceQueue(SLIN, StreamTraits(paced=True, frame_ms=20))
    voice = ramp(sum(lengths))
    at = 0
    for ms in lengths:
        queue.add(voice[at : at + ms * 8], 8_000)
        at += ms * 8
    queue.finish()
    frames = list(iter(queue.take, None))
    assert {len(frame) for frame in frames} <= {320}
    whole = b"".join(frames)
    assert whole.startswith(voice.astype("<i2").tobytes())
    assert not any(whole[len(voice) * 2 :])


def test_mu_law_is_a_table_and_no_detour() -> None:
    queue = VoiceQueue(ULAW, StreamTraits())
    queue.add(ramp(60), 8_000)
    assert queue.take() == G711Encoder(Encoding.G711_ULAW).encode(ramp(60))[0]


def test_marks_name_what_was_sent_and_only_since_the_last_clear() -> None:
    queue = VoiceQueue(ULAW, StreamTraits(marks=True))
    queue.add(ramp(60), 8_000)
    queue.take()
    assert queue.mark() is None
    queue.add(ramp(MARK_EVERY_MS), 8_000)
    queue.take()
    first = queue.mark()
    assert first is not None
    assert queue.reached(first) == 60 + MARK_EVERY_MS
    assert queue.mark() is None
    queue.clear()
    assert queue.reached(first) is None
    queue.add(ramp(20), 8_000)
    queue.finish()
    queue.take()
    last = queue.mark()
    assert last is not None
    assert queue.reached(last) == 20
    assert queue.reached("nonsense") is None
    assert queue.reached(last.partition(".")[0] + ".99999") == 20


def test_what_a_carrier_does_not_take_is_bounded() -> None:
    queue = VoiceQueue(ULAW, StreamTraits())
    for _ in range(MAX_WAITING_MS // 100 + 20):
        queue.add(ramp(100), 8_000)
    assert queue.overflowed
    assert len(queue) <= MAX_WAITING_MS // 100 + 1


# --- a leg ---


class Listener:
    def __init__(self) -> None:
        self.told: list[object] = []
        self.heard_samples = 0

    def heard(self, samples: Samples, rate_hz: int) -> None:
        self.heard_samples += len(samples)

    def digit(self, digit: str) -> None:
        self.told.append(digit)

    def played(self, heard_ms: int) -> None:
        self.told.append(heard_ms)

    def held(self, on: bool) -> None:
        self.told.append(on)

    def ended(self, reason: HangUpReason) -> None:
        self.told.append(reason)


class Wire:
    def __init__(self) -> None:
        self.sent: list[Frame] = []

    async def send(self, frame: Frame) -> None:
        self.sent.append(frame)
        await anyio.lowlevel.checkpoint()


async def test_what_came_before_anybody_listened_is_told_first() -> None:
    leg = StreamLeg(INFO, TwilioCodec(), ULAW, None)
    leg.feed([StreamAudio(b"\xff" * 160)] * (EARLY_MS // 20 + 50))
    leg.feed([StreamKey("1"), StreamKey("2"), StreamEnded()])
    listener = Listener()
    leg.listen(listener)
    assert listener.heard_samples == EARLY_MS * 8
    assert listener.told == ["1", "2", "caller"]


async def test_marks_are_told_as_what_was_heard_and_old_ones_are_not() -> None:
    leg, wire, listener = StreamLeg(INFO, TwilioCodec(), ULAW, None), Wire(), Listener()
    leg.listen(listener)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leg.send, wire)
        leg.play(ramp(200), 8_000)
        leg.finish()
        await eventually(lambda: len(wire.sent) >= 2)
        leg.feed([StreamMark("0.200")])
        leg.clear()
        leg.feed([StreamMark("0.200"), StreamMark("1.900")])
        await eventually(lambda: len(wire.sent) >= 3)
        tasks.cancel_scope.cancel()
    assert listener.told == [200]
    assert wire.sent[-1] == '{"event":"clear","streamSid":""}'


async def test_hanging_up_waits_for_what_is_played_but_not_for_ever() -> None:
    leg, wire = StreamLeg(INFO, AudioSocketCodec(), SLIN, None), Wire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leg.send, wire)
        leg.play(ramp(100), 8_000)
        leg.finish()
        with anyio.fail_after(2.0 + 5.0):
            await leg.hang_up("agent")
        await eventually(lambda: wire.sent[-1] == b"\x00\x00\x00")
        tasks.cancel_scope.cancel()
    assert len(wire.sent) == 6
    assert leg.reason == "agent"


async def test_a_leg_without_an_interface_says_so() -> None:
    leg = StreamLeg(INFO, TwilioCodec(), ULAW, None)
    for act in (leg.transfer("+15550100777"), leg.send_digits("1")):
        with pytest.raises(CallControlError):
            await act


def test_audio_that_came_at_once_is_heard_at_once_and_in_its_place() -> None:
    first, second, key = StreamAudio(b"a" * 160), StreamAudio(b"b" * 160), StreamKey("1")
    joined = [StreamAudio(b"a" * 160 + b"b" * 160), key, first]
    assert together([first, second, key, first], 1, 1_600) == joined
    assert together([first, second, second], 1, 400) == [StreamAudio(first.payload + second.payload), second]
    odd = StreamAudio(b"a" * 161)
    assert together([odd, second], 2, 1_600) == [odd, second]
    assert together([second, odd, second], 2, 1_600) == [second, odd, second]


def test_audio_that_cannot_be_heard_does_not_hold_up_what_came_with_it() -> None:
    leg = StreamLeg(INFO, AudioSocketCodec(), SLIN, None)
    with pytest.raises(AudioFormatError):
        leg.feed([StreamAudio(b"\0" * 321), StreamKey("1"), StreamEnded()])
    assert leg.reason == "caller"
