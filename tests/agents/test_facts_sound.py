"""What a session heard and said is all in its events, to the sample: whoever interrupts, cancels, fails or leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from conversation import Script, Talk, conversation
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from virtual_time import run_virtual

from agents.core.sound_meter import TICKS_PER_S, SoundMeter, ticks
from agents.errors import ModelTimeout
from agents.events import AudioOut, SpeechStartedHeard, SpeechStoppedHeard, TurnCompleted, TurnStarted
from agents.models.port import ToolRequest
from agents.models.scripted import ScriptedReply
from agents.tools.tool import tool
from audio.errors import EngineTimeout
from audio.formats import PCM_RATES_HZ, PcmChunk
from audio.stt.port import SpeechToText, SttOptions, SttStream
from metering.codec import check
from metering.ledger import UsageQuery, is_unclaimed, read_all
from metering.usage import UsageEvent

LATE = ModelTimeout("late", provider="scripted")
LONG = "There is a great deal to be said about that, and it would take me quite some time to say all of it to you. " * 3


class CountingStream:
    """A recognition stream that counts what it is given."""

    def __init__(self, inner: SttStream, count: Callable[[int], None]) -> None:
        self._inner = inner
        self._count = count

    def push(self, chunk: PcmChunk) -> None:
        self._count(len(chunk.samples))
        self._inner.push(chunk)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class CountingEars:
    """Speech-to-text that counts the samples it is sent, over all streams."""

    def __init__(self) -> None:
        self.samples = 0
        self._inner: SpeechToText | None = None

    def around(self, inner: SpeechToText) -> SpeechToText:
        self._inner = inner
        return self  # type: ignore[return-value]

    def _count(self, samples: int) -> None:
        self.samples += samples

    async def open(self, options: SttOptions, *told: Any) -> SttStream:
        assert self._inner is not None
        return CountingStream(await self._inner.open(options, *told), self._count)  # type: ignore[return-value]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass
class Transport:
    """Counts what goes through it, in ticks."""

    talk: Talk
    received: int = 0

    async def send(self, samples: int, level: int, rate_hz: int) -> None:
        """A message at the client's own rate; 16 kHz samples come out of it, more or fewer."""
        length = ticks(samples, rate_hz)
        self.received += length
        self.talk.session.hear(np.full(samples * 16_000 // rate_hz, level, np.int16), length)
        await asyncio.sleep(samples / rate_hz)

    @property
    def sent(self) -> int:
        return sum(ticks(len(event.samples), event.sample_rate_hz) for event in self.talk.all(AudioOut))


def events_of(talk: Talk) -> list[UsageEvent]:
    return list(read_all(talk.recorder.ledger, UsageQuery()))


def hold(body: Callable[[Transport], Awaitable[None]], script: Script) -> tuple[Transport, CountingEars]:
    """Hold a conversation in virtual time; what went through, and what was recognised."""
    ears = CountingEars()
    script.ears = ears.around

    async def main() -> Transport:
        async with conversation(script) as talk:
            transport = Transport(talk)
            await body(transport)
        return transport

    return run_virtual(main()), ears


def check_whole(transport: Transport, ears: CountingEars) -> list[UsageEvent]:
    """Every sample is in one event, and every event is one that may be recorded."""
    events = events_of(transport.talk)
    for event in events:
        check(event)
    assert len({event.request_id for event in events}) == len(events)
    assert sum(event.audio_ticks_received for event in events) == transport.received
    assert sum(event.audio_ms_received for event in events) == transport.received // 48
    assert sum(event.audio_ticks_sent for event in events) == transport.sent
    assert sum(event.audio_ms_sent for event in events) == transport.sent // 48
    assert sum(event.audio_ms_in for event in events) == ears.samples // 16
    assert sum(event.audio_ms_speech for event in events) <= sum(event.audio_ms_received for event in events)
    turns = {started.turn_id for started in transport.talk.all(TurnStarted)}
    assert {event.request_id for event in events if not is_unclaimed(event)} == turns
    return events


# --- anything a client may do ---

_messages = st.tuples(
    st.just("send"),
    st.sampled_from([0, 8_000]),
    st.integers(1, 4),  # hundreds of ms
    st.sampled_from(PCM_RATES_HZ),
    st.integers(0, 7),  # samples more than whole milliseconds
)
_acts = st.sampled_from(
    [("prompt",), ("cancel",), ("clear",), ("commit",), ("mute",), ("played",), ("by hand",), ("stall",), ("go on",)]
)
_replies = st.lists(
    st.sampled_from(["Yes.", LONG, LATE, ScriptedReply("Half of it, and then", failure=LATE)]), min_size=1, max_size=4
)
_hearing = st.lists(
    st.sampled_from(["What time is it?", "", "And tomorrow", EngineTimeout("late", stage="stt", provider="scripted")]),
    min_size=1,
    max_size=4,
)


async def act(transport: Transport, what: tuple[Any, ...]) -> None:
    talk, session = transport.talk, transport.talk.session
    plain: dict[str, Callable[[], object]] = {
        "prompt": lambda: session.prompt("Hello?"),
        "cancel": session.cancel,
        "clear": session.clear,
        "commit": session.commit,
        "played": lambda: session.played(None, 300),
        "stall": talk.takes.clear,
        "go on": talk.takes.set,
    }
    match what:
        case ("send", level, hundreds, rate_hz, more):
            for _ in range(hundreds * 5):
                await transport.send(rate_hz // 50 + more, level, rate_hz)
        case ("mute",):
            await talk.mute(900)
        case ("by hand",):
            talk.options = replace(talk.options, hands_free=not talk.options.hands_free)
            session.update(talk.options)
        case (name,):
            plain[name]()
        case _:
            raise AssertionError(what)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    acts=st.lists(_messages | _messages | _acts, max_size=25),
    replies=_replies,
    hears=_hearing,
    greeting=st.sampled_from([None, "Hello there, how can I help you today?"]),
)
@example([("stall",), ("prompt",), *[("send", 0, 4, 16_000, 0)] * 6], ["Yes."], ["Hi."], None)
def test_the_sum_over_a_sessions_events_is_what_its_transport_counted(
    acts: list[tuple[Any, ...]], replies: list[Any], hears: list[Any], greeting: str | None
) -> None:
    async def body(transport: Transport) -> None:
        for what in acts:
            await act(transport, what)
        # The client leaves, in the middle of whatever goes on; what it has not taken by then is never sent.
        asyncio.get_running_loop().call_later(0.5, transport.talk.takes.set)

    check_whole(*hold(body, Script(hears=hears, replies=replies, greeting=greeting)))


@given(
    counts=st.lists(
        st.tuples(st.sampled_from(PCM_RATES_HZ), st.integers(0, 5_000), st.booleans(), st.booleans()), max_size=40
    )
)
def test_no_part_of_a_millisecond_is_lost_or_doubled_however_often_accounts_are_taken(
    counts: list[tuple[int, int, bool, bool]],
) -> None:
    meter = SoundMeter()
    taken = [meter.take()]
    for rate_hz, samples, outward, closes in counts:
        (meter.sent if outward else meter.received)(ticks(samples, rate_hz))
        if closes:
            taken.append(meter.take())
    taken.append(meter.take())
    for outward in (False, True):
        whole = sum(ticks(samples, rate_hz) for rate_hz, samples, out, _ in counts if out == outward)
        assert sum(each.sent_ticks if outward else each.received_ticks for each in taken) == whole
        assert sum(each.sent_ms if outward else each.received_ms for each in taken) == whole * 1_000 // TICKS_PER_S


# --- what each figure means ---


def test_silence_before_between_and_after_turns_is_in_the_events_that_follow() -> None:
    async def body(transport: Transport) -> None:
        await act(transport, ("send", 0, 30, 16_000, 0))
        await act(transport, ("send", 8_000, 10, 16_000, 0))
        while not transport.talk.all(TurnCompleted):
            await act(transport, ("send", 0, 1, 16_000, 0))
        await act(transport, ("send", 0, 20, 16_000, 0))

    transport, ears = hold(body, Script())
    turn, closing = check_whole(transport, ears)
    started, stopped = transport.talk.one(SpeechStartedHeard), transport.talk.one(SpeechStoppedHeard)
    assert turn.audio_ms_speech == stopped.at_ms - started.at_ms == 1_000
    assert turn.audio_ms_received >= 3_000 + 1_000 + turn.audio_ms_out
    assert turn.audio_ms_sent == turn.audio_ms_out == turn.audio_ms_synthesized
    assert is_unclaimed(closing)
    assert closing.audio_ms_received >= 2_000
    assert (closing.audio_ms_in, closing.audio_ms_speech, closing.audio_ms_sent) == (0, 0, 0)


def test_whoever_leaves_in_the_middle_of_a_word_has_spoken() -> None:
    async def body(transport: Transport) -> None:
        await act(transport, ("send", 8_000, 7, 16_000, 0))

    transport, ears = hold(body, Script())
    (closing,) = check_whole(transport, ears)
    assert is_unclaimed(closing)
    assert (closing.audio_ms_received, closing.audio_ms_speech) == (700, 700)


def test_where_the_client_ends_turns_itself_nothing_is_taken_for_speech() -> None:
    async def body(transport: Transport) -> None:
        await act(transport, ("send", 8_000, 5, 16_000, 0))
        await act(transport, ("by hand",))
        await act(transport, ("send", 8_000, 9, 16_000, 0))
        await act(transport, ("by hand",))
        await act(transport, ("send", 8_000, 5, 16_000, 0))

    transport, ears = hold(body, Script())
    events = check_whole(transport, ears)
    assert sum(event.audio_ms_received for event in events) == 1_900
    assert sum(event.audio_ms_speech for event in events) == 1_000


def test_an_interrupted_reply_was_sent_further_than_it_was_heard_and_made_further_than_it_was_sent() -> None:
    async def body(transport: Transport) -> None:
        await act(transport, ("send", 8_000, 10, 16_000, 0))
        while not transport.talk.all(AudioOut):
            await act(transport, ("send", 0, 1, 16_000, 0))
        await act(transport, ("send", 0, 10, 16_000, 0))
        await act(transport, ("send", 8_000, 12, 16_000, 0))
        await act(transport, ("send", 0, 30, 16_000, 0))

    transport, ears = hold(body, Script(replies=(LONG,)))
    first = check_whole(transport, ears)[0]
    assert first.interrupted
    assert 0 < first.audio_ms_out <= first.audio_ms_sent < first.audio_ms_synthesized


def test_a_tool_that_is_cut_short_is_counted_with_the_time_it_ran() -> None:
    @tool(effects=False)
    async def slow() -> str:
        """Takes its time."""
        await asyncio.sleep(20)
        return "done"

    async def body(transport: Transport) -> None:
        transport.talk.session.prompt("Use it.")
        await transport.talk.mute(1_500)
        transport.talk.session.cancel()
        await transport.talk.mute(500)

    reply = ScriptedReply("", tools=(ToolRequest("call_1", "slow", "{}"),))
    transport, ears = hold(body, Script(replies=(reply,), tools=(slow,)))
    (event,) = check_whole(transport, ears)
    assert (event.tool_calls, event.interrupted) == (1, True)
    assert 1_400 <= event.tool_ms <= 1_500
