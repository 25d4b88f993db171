"""The agent's own voice in the user's microphone, in whole conversations in virtual time, with recorded speech."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conversation import Script, Talk, conversation, dialogue
from echo_room import FRAME, EchoRoom

from agents.core.policy import TurnPolicy
from agents.events import (
    AudioOut,
    Degraded,
    Interrupted,
    ReplyText,
    Resumed,
    TurnCompleted,
    TurnStarted,
)
from audio.formats import HEARING_RATE_HZ, Samples
from audio.tts.port import SpeechAudio, SpeechRequest, TtsProfile
from audio.wav import read_wav

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
POLICY = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900)
REPLY = "It is ten past four in the afternoon, and the sun will set in about an hour from now."


def recording(name: str, rms: float = 3_000.0) -> Samples:
    samples, rate_hz = read_wav(SPEECH / f"{name}.wav")
    assert rate_hz == HEARING_RATE_HZ
    return np.clip(samples * (rms / np.sqrt(np.mean(samples.astype(np.float64) ** 2))), -32_768, 32_767).astype(
        np.int16
    )


class RecordedVoice:
    """``TextToSpeech`` that says everything with the same recordings, in turn."""

    def __init__(self, *names: str) -> None:
        self._clips = [recording(name) for name in names]
        self._said = 0

    @property
    def profile(self) -> TtsProfile:
        return TtsProfile("recorded", "human", HEARING_RATE_HZ, ("human",), streaming=True, word_timings=False)

    async def warm_up(self) -> None: ...

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpeechAudio]:
        clip = self._clips[self._said % len(self._clips)]
        self._said += 1
        for at in range(0, len(clip), 1_600):
            yield SpeechAudio(clip[at : at + 1_600], HEARING_RATE_HZ)

    async def aclose(self) -> None: ...


class Caller:
    """Somebody with a telephone in a room."""

    def __init__(self, talk: Talk, room: EchoRoom) -> None:
        self.talk = talk
        self.room = room
        self._seen = 0

    async def say(self, near: Samples) -> None:
        for at in range(0, len(near), FRAME):
            await self._frame(near[at : at + FRAME])

    async def listen(self, ms: int) -> None:
        for _ in range(ms // 20):
            await self._frame(None)

    async def listen_until(self, kind: type, count: int = 1, limit_ms: int = 30_000) -> None:
        for _ in range(limit_ms // 20):
            if len(self.talk.all(kind)) >= count:
                return
            await self._frame(None)
        raise AssertionError(f"no {kind.__name__}: {self.talk.kinds()}")

    async def _frame(self, near: Samples | None) -> None:
        self._take_events()
        self.talk.session.hear(self.room.hear(near))
        await asyncio.sleep(0.02)

    def _take_events(self) -> None:
        for _, event in self.talk.events[self._seen :]:
            if isinstance(event, AudioOut):
                self.room.arrive(event.samples)
            elif isinstance(event, Interrupted):
                self.room.clear()
        self._seen = len(self.talk.events)


class BusyCaller(Caller):
    """Where everything comes late, and at once, there and back: every ``every_ms``."""

    def __init__(self, talk: Talk, room: EchoRoom, every_ms: int) -> None:
        super().__init__(talk, room)
        self._most = every_ms // 20
        self._waiting: list[Samples] = []

    async def _frame(self, near: Samples | None) -> None:
        self._waiting.append(self.room.hear(near))
        if len(self._waiting) >= self._most:
            self._take_events()
            for frame in self._waiting:
                self.talk.session.hear(frame)
            self._waiting.clear()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def call(
    room: EchoRoom,
    *,
    every_ms: int = 20,
    hears: tuple[str, ...],
    policy: TurnPolicy = POLICY,
    partials: int | None = None,
    locale: str = "en-US",
) -> AsyncIterator[Caller]:
    """A conversation whose agent answers with ten seconds of a recorded voice."""
    script = Script(
        hears=hears,
        replies=(REPLY,),
        policy=POLICY,
        voice=RecordedVoice("librivox_0870"),
        partial_every_ms=partials,
        options={"output_rate_hz": HEARING_RATE_HZ, "locale": locale},
    )
    async with conversation(script) as talk:
        yield Caller(talk, room) if every_ms <= 20 else BusyCaller(talk, room, every_ms)


async def ask(caller: Caller) -> None:
    await caller.say(recording("cards_001"))
    await caller.listen_until(AudioOut)


MISHEARD = ("What time is it?", "Somewhere they were going with the words of nobody")
OWN_WORDS = ("What time is it?", "ten past four in the afternoon")


def announced(talk: Talk) -> list[tuple[str, str]]:
    return [(event.from_, event.to) for event in talk.all(Degraded)]


@pytest.mark.parametrize(
    ("delay_ms", "gain_db", "rt60_s"), [(60, -6.0, 0.2), (160, -10.0, 0.3), (340, -14.0, 0.3), (560, -8.0, 0.25)]
)
def test_the_agents_own_voice_is_no_turn_even_where_it_is_misheard(
    delay_ms: int, gain_db: float, rt60_s: float
) -> None:
    @dialogue
    async def run() -> None:
        room = EchoRoom(HEARING_RATE_HZ, delay_ms=delay_ms, gain_db=gain_db, rt60_s=rt60_s)
        async with call(room, hears=MISHEARD) as caller:
            await ask(caller)
            await caller.listen_until(TurnCompleted)
            await caller.listen(3_000)
            talk = caller.talk
        assert announced(talk) == [("full_duplex", "half_duplex")]
        assert [turn.source for turn in talk.all(TurnStarted)] == ["speech", "announcement"]
        assert not talk.all(TurnCompleted)[0].interrupted
        assert len(talk.all(Resumed)) == len(talk.all(Interrupted)) <= 2

    run()


@pytest.mark.parametrize(("every_ms", "delay_ms", "gain_db"), [(260, 560, -8.0), (340, 560, -8.0), (420, 420, -14.0)])
def test_where_the_server_is_busy_and_all_comes_late_the_agents_own_voice_is_no_turn_either(
    every_ms: int, delay_ms: int, gain_db: float
) -> None:
    @dialogue
    async def run() -> None:
        room = EchoRoom(HEARING_RATE_HZ, delay_ms=delay_ms, gain_db=gain_db, rt60_s=0.3)
        async with call(room, hears=MISHEARD, every_ms=every_ms) as caller:
            await ask(caller)
            await caller.listen_until(TurnCompleted)
            await caller.listen(2_000)
            talk = caller.talk
        assert announced(talk) == [("full_duplex", "half_duplex")]
        assert [turn.source for turn in talk.all(TurnStarted)] == ["speech", "announcement"]
        assert not talk.all(TurnCompleted)[0].interrupted

    run()


@dialogue
async def test_the_user_is_told_once_in_words_and_aloud_in_their_language() -> None:
    async with call(EchoRoom(HEARING_RATE_HZ), hears=MISHEARD, locale="de-DE") as caller:
        await ask(caller)
        await caller.listen_until(TurnCompleted, 2)
        await ask(caller)
        await caller.listen_until(TurnCompleted, 3)
        await caller.listen(1_000)
        talk = caller.talk
    [told] = talk.all(Degraded)
    advice = "Ich höre mich selbst. Bitte benutze Kopfhörer oder stelle den Ton leiser."
    assert told.reason == f"echo: {advice}"
    assert [turn.source for turn in talk.all(TurnStarted)] == ["speech", "announcement", "speech"]
    announcement = talk.all(TurnStarted)[1].turn_id
    assert "".join(text.text for text in talk.all(ReplyText) if text.turn_id == announcement).strip() == advice


@dialogue
async def test_words_that_come_back_are_dropped_before_the_sound_is_sure() -> None:
    async with call(EchoRoom(HEARING_RATE_HZ, delay_ms=340), hears=OWN_WORDS, partials=60) as caller:
        await ask(caller)
        await caller.listen_until(TurnCompleted)
        talk = caller.talk
    assert not talk.all(TurnCompleted)[0].interrupted
    assert len([turn for turn in talk.all(TurnStarted) if turn.source == "speech"]) == 1


@dialogue
async def test_somebody_with_a_headset_may_repeat_what_the_agent_says() -> None:
    async with call(EchoRoom(HEARING_RATE_HZ, gain_db=None), hears=OWN_WORDS) as caller:
        await ask(caller)
        await caller.listen(1_500)
        await caller.say(recording("cards_005"))
        await caller.listen_until(TurnCompleted)
        talk = caller.talk
    assert talk.all(TurnCompleted)[0].interrupted
    assert announced(talk) == []


@pytest.mark.parametrize("above_db", [6.0, 12.0])
def test_somebody_louder_than_the_echo_gets_through(above_db: float) -> None:
    @dialogue
    async def run() -> None:
        room = EchoRoom(HEARING_RATE_HZ, gain_db=-14.0)
        hears = (*MISHEARD, *MISHEARD[1:], "Stop, please, what about tomorrow?")
        async with call(room, hears=hears) as caller:
            await ask(caller)
            await caller.listen_until(Degraded)
            await caller.listen(800)
            talk, before = caller.talk, len(caller.talk.all(Interrupted))
            await caller.say(recording("cards_005", 3_000.0 * 10.0 ** ((above_db - 14.0) / 20.0)))
            await caller.listen_until(TurnCompleted)
            assert talk.all(TurnCompleted)[0].interrupted
            assert len(talk.all(Interrupted)) > before
            await caller.listen_until(TurnStarted, 2)
        assert announced(talk) == [("full_duplex", "half_duplex")]

    run()


@dialogue
async def test_what_is_no_louder_than_the_echo_is_no_interruption() -> None:
    room = EchoRoom(HEARING_RATE_HZ, gain_db=-6.0)
    async with call(room, hears=MISHEARD) as caller:
        await ask(caller)
        await caller.listen_until(Degraded)
        await caller.listen(300)
        held = len(caller.talk.all(Interrupted))
        await caller.say(recording("cards_005", 3_000.0 * 10.0 ** (-12.0 / 20.0)))
        assert len(caller.talk.all(Interrupted)) == held
        await caller.listen_until(TurnCompleted)
        assert not caller.talk.all(TurnCompleted)[0].interrupted


@dialogue
async def test_with_an_echo_the_client_can_still_stop_the_agent_and_commit_a_turn() -> None:
    async with call(EchoRoom(HEARING_RATE_HZ), hears=(*MISHEARD, *MISHEARD[1:], "Good evening.")) as caller:
        await ask(caller)
        await caller.listen_until(Degraded)
        await caller.listen(300)
        caller.talk.session.cancel()
        await caller.listen_until(TurnCompleted)
        assert caller.talk.all(TurnCompleted)[0].interrupted
        await caller.listen_until(TurnCompleted, 2)  # of the advice
        turns = len(caller.talk.all(TurnStarted))
        await caller.say(recording("cards_001"))
        caller.talk.session.commit()
        await caller.listen_until(TurnStarted, turns + 1)


@dialogue
async def test_the_session_is_full_duplex_again_once_the_echo_has_stayed_away() -> None:
    room = EchoRoom(HEARING_RATE_HZ)
    async with call(room, hears=MISHEARD) as caller:
        await ask(caller)
        await caller.listen_until(Degraded)
        room.gain_db = None  # they put a headset on
        for turn in range(3):
            await caller.listen_until(TurnCompleted, 1 + turn + (turn > 0))
            await ask(caller)
        await caller.listen_until(TurnCompleted, 5)
        assert announced(caller.talk) == [("full_duplex", "half_duplex"), ("half_duplex", "full_duplex")]


@dialogue
async def test_who_presses_to_talk_over_the_echo_is_heard_however_quiet() -> None:
    async with call(EchoRoom(HEARING_RATE_HZ), hears=(*MISHEARD, *MISHEARD[1:], "Good evening.")) as caller:
        await ask(caller)
        await caller.listen_until(Degraded)
        session, options = caller.talk.session, caller.talk.options
        session.update(replace(options, policy=replace(POLICY, auto_end=False)))
        await caller.say(recording("cards_001", 1_000.0))
        session.commit()
        await caller.listen_until(TurnStarted, 2)
        assert caller.talk.all(TurnStarted)[1].source == "speech"
        assert caller.talk.all(TurnCompleted)[0].interrupted
