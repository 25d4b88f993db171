"""Media streams of telephone carriers: what each frame means, golden frames out, and every fault a stream can have."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phone_traces import CALL_UUID, TRACES, Trace

from audio.formats import AudioFormat, Encoding
from server.wire.phone.freeswitch import FreeSwitchCodec
from server.wire.phone.order import LONGEST_GAP, MOST_AHEAD, ChunkOrder
from server.wire.phone.port import (
    MAX_FRAME_BYTES,
    Frame,
    StreamAudio,
    StreamBegan,
    StreamCodec,
    StreamEnded,
    StreamEvent,
    StreamFault,
    StreamKey,
    StreamMark,
)

GOLDEN = Path(__file__).parent / "golden" / "phone_out.jsonl"
FORMATS = {
    "twilio": AudioFormat(Encoding.G711_ULAW, 8_000),
    "telnyx": AudioFormat(Encoding.G711_ALAW, 8_000),
    "acs": AudioFormat(Encoding.PCM16, 24_000),
    "acs-16k-pascal": AudioFormat(Encoding.PCM16, 16_000),
    "vonage": AudioFormat(Encoding.PCM16, 16_000),
    "jambonz": AudioFormat(Encoding.PCM16, 8_000),
    "freeswitch": AudioFormat(Encoding.PCM16, 8_000),
    "audiosocket": AudioFormat(Encoding.PCM16, 8_000),
}
NAMES = {"twilio": "CA1", "telnyx": "v3:1", "vonage": "u1", "jambonz": "c1", "freeswitch": "f1"}
NUMBERED = ("twilio", "telnyx")
every = pytest.mark.parametrize("name", list(TRACES))


def fed(codec: StreamCodec, frames: list[Frame]) -> list[StreamEvent]:
    return [event for frame in frames for event in codec.feed(frame)]


def heard(events: list[StreamEvent]) -> bytes:
    return b"".join(event.payload for event in events if isinstance(event, StreamAudio))


def began(trace: Trace) -> StreamCodec:
    codec = trace.make()
    fed(codec, list(trace.start))
    return codec


# --- a call in order ---


@every
def test_a_whole_call_means_what_it_says(name: str) -> None:
    trace = TRACES[name]
    events = fed(trace.make(), trace.whole)
    start = events[0]
    assert isinstance(start, StreamBegan)
    assert start.audio == FORMATS[name]
    assert start.carrier_call_id == (str(CALL_UUID) if name == "audiosocket" else NAMES.get(name, ""))
    if name in NAMES:
        assert (start.caller, start.callee) == ("+15550100123", "+15550100999")
        assert start.parameters == {"locale": "de-DE"}
    assert heard(events) == b"".join(trace.payloads)
    rest = [event for event in events[1:] if not isinstance(event, StreamAudio)]
    expected: list[StreamEvent] = [StreamKey("5")]
    expected += [StreamMark("m1")] if trace.mark is not None else []
    expected += [StreamEnded()] if trace.end is not None else []
    assert rest == expected


@pytest.mark.parametrize("vector", [json.loads(line) for line in GOLDEN.read_text().splitlines()], ids=str)
def test_frames_out_are_the_recorded_ones(vector: dict[str, Any]) -> None:
    codec = began(TRACES[vector["carrier"]])

    def written(frame: Frame | None) -> str | None:
        return f"hex:{frame.hex()}" if isinstance(frame, bytes) else frame

    assert written(codec.audio(bytes([0, 1, 2]))) == vector["audio"]
    assert written(codec.mark("m1")) == vector["mark"]
    assert written(codec.clear()) == vector["clear"]
    assert written(codec.hang_up()) == vector["hang_up"]
    assert codec.traits.marks == (vector["mark"] is not None)
    assert codec.traits.paced == (vector["carrier"] in {"freeswitch", "audiosocket"})


def test_names_of_marks_are_written_as_json() -> None:
    codec = began(TRACES["twilio"])
    assert json.loads(codec.mark('a"b') or "")["mark"] == {"name": 'a"b'}


def test_audiosocket_is_understood_however_it_is_cut() -> None:
    trace = TRACES["audiosocket"]
    stream = b"".join(frame for frame in trace.whole if isinstance(frame, bytes))
    whole = fed(trace.make(), [stream])
    for cut in range(1, len(trace.start[0]) + len(trace.audio[0]) + 8):
        assert fed(trace.make(), [stream[:cut], stream[cut:]]) == whole
    assert fed(trace.make(), [stream[at : at + 1] for at in range(len(stream))]) == whole


# --- faults ---


@pytest.mark.parametrize("name", NUMBERED)
def test_frames_out_of_order_are_put_in_order(name: str) -> None:
    trace = TRACES[name]
    for swapped in ([1, 0], [2, 0, 1], [3, 2, 1, 0]):
        audio = [trace.audio[at] for at in (0, *(1 + each for each in swapped))]
        audio += list(trace.audio[1 + len(swapped) :])
        codec = began(trace)
        assert heard(fed(codec, audio)) == b"".join(trace.payloads)


@pytest.mark.parametrize("name", NUMBERED)
def test_frames_that_come_twice_are_heard_once(name: str) -> None:
    trace = TRACES[name]
    doubled = [frame for frame in trace.audio for _ in range(2)]
    assert heard(fed(began(trace), doubled)) == b"".join(trace.payloads)


@pytest.mark.parametrize("name", NUMBERED)
def test_a_frame_that_is_lost_leaves_silence_of_its_length(name: str) -> None:
    trace = TRACES[name]
    left = [frame for number, frame in enumerate(trace.audio) if number != 7]
    silence = (b"\xff" if name == "twilio" else b"\xd5") * 160
    assert heard(fed(began(trace), left)) == b"".join((*trace.payloads[:7], silence, *trace.payloads[8:]))


@pytest.mark.parametrize("name", [name for name in TRACES if name != "freeswitch"])
def test_audio_before_the_start_is_a_fault(name: str) -> None:
    trace = TRACES[name]
    codec = trace.make()
    with pytest.raises(StreamFault):
        codec.feed(trace.audio[0])
    if name != "audiosocket":  # there the frames' borders are lost; the others go on
        assert isinstance(fed(codec, list(trace.start))[-1], StreamBegan)


def test_freeswitch_may_say_nothing_before_its_audio() -> None:
    events = fed(FreeSwitchCodec(16_000), list(TRACES["freeswitch"].audio))
    assert events[0] == StreamBegan("", AudioFormat(Encoding.PCM16, 16_000))
    assert fed(FreeSwitchCodec(), ["hello"])[0] == StreamBegan("", AudioFormat(Encoding.PCM16, 8_000))
    assert json.loads(FreeSwitchCodec(as_json=True).audio(b"\0\1"))["data"]["audioData"] == "AAE="


@pytest.mark.parametrize("name", [name for name in TRACES if TRACES[name].wrong_codec])
def test_audio_nobody_can_hear_ends_the_stream(name: str) -> None:
    trace = TRACES[name]
    with pytest.raises(StreamFault) as fault:
        fed(trace.make(), list(trace.wrong_codec))
    assert fault.value.fatal


@every
def test_a_megabyte_in_one_frame_ends_the_stream(name: str) -> None:
    trace = TRACES[name]
    huge: Frame = b"\x10\xff\xff" + bytes(1_000_000) if isinstance(trace.audio[0], bytes) else "x" * 1_000_000
    with pytest.raises(StreamFault) as fault:
        fed(began(trace), [huge])
    assert fault.value.fatal


@pytest.mark.parametrize("name", [name for name in TRACES if name not in {"freeswitch", "jambonz"}])
def test_a_second_beginning_is_a_fault(name: str) -> None:
    trace = TRACES[name]
    codec = began(trace)
    with pytest.raises(StreamFault):
        codec.feed(trace.start[-1])


@every
@pytest.mark.parametrize("frame", ["", "{", "[]", '"x"', "null", '{"event":"media"}', '{"event":"media","media":[]}'])
def test_a_frame_that_makes_no_sense_is_a_fault_or_nothing(name: str, frame: str) -> None:
    codec = began(TRACES[name])
    try:
        events = codec.feed(frame)
    except StreamFault:
        return
    assert events == []


@every
@given(frames=st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=200)), max_size=8))
def test_whatever_comes_is_an_event_or_a_fault(name: str, frames: list[Frame]) -> None:
    codec = TRACES[name].make()
    for frame in frames:
        try:
            codec.feed(frame)
        except StreamFault:
            continue


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
WORDS = "event kind start media mark dtmf stop payload chunk mediaFormat customParameters data name digit track".split()


@every
@given(frame=st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6), kind=st.sampled_from(WORDS))
def test_json_of_any_shape_is_an_event_or_a_fault(name: str, frame: dict[str, Any], kind: str) -> None:
    for codec in (TRACES[name].make(), began(TRACES[name])):
        try:
            codec.feed(json.dumps({**frame, "event": kind, "kind": kind}))
        except StreamFault:
            continue


@every
@given(data=st.data())
def test_a_stream_with_any_frame_spoilt_goes_on_or_ends_with_a_fault(name: str, data: st.DataObject) -> None:
    trace = TRACES[name]
    frames = trace.whole
    at = data.draw(st.integers(0, len(frames) - 1))
    cut = data.draw(st.integers(0, len(frames[at])))
    frames[at] = frames[at][:cut]
    codec = trace.make()
    for frame in frames:
        try:
            codec.feed(frame)
        except StreamFault as fault:
            if fault.fatal:
                break


def test_what_a_carrier_hands_over_is_bounded() -> None:
    codec = TRACES["twilio"].make()
    message = json.loads(TRACES["twilio"].start[-1])
    message["start"]["customParameters"] = {f"p{number}": "x" * 2_000 for number in range(1_000)}
    frame = json.dumps(message)
    with pytest.raises(StreamFault):
        codec.feed(frame)
    assert len(frame) > MAX_FRAME_BYTES
    message["start"]["customParameters"] = {f"p{number}": "x" * 600 for number in range(60)}
    start = codec.feed(json.dumps(message))[0]
    assert isinstance(start, StreamBegan)
    assert len(start.parameters) <= 32
    assert max(map(len, start.parameters.values())) == 512


# --- order ---


@given(st.permutations(range(12)), st.integers(0, 3))
def test_whatever_the_order_nothing_is_heard_twice_or_out_of_order(order: list[int], twice: int) -> None:
    chunks = ChunkOrder()
    numbers = [0, *(each + 1 for each in order), *range(13, 13 + MOST_AHEAD + 2)]
    numbers = list(itertools.chain.from_iterable([number] * (1 + (number % 4 == twice)) for number in numbers))
    told = [each for number in numbers for each in chunks.take(number, bytes([number]))]
    assert len(told) == len(set(numbers))
    kept = [each for each in told if each is not None]
    assert kept == sorted(set(kept))


def test_a_leap_is_a_new_count() -> None:
    chunks = ChunkOrder()
    chunks.take(1, b"a")
    assert chunks.take(2 + LONGEST_GAP + 1, b"b") == [b"b"]
    assert chunks.take(2 + LONGEST_GAP + 2, b"c") == [b"c"]
