"""Spending in dialogues: nothing is asked of a provider before the purse agrees, and whoever is refused is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conversation import Script, conversation
from virtual_time import run_virtual

from agents.core.options import Engines
from agents.core.policy import TurnPolicy
from agents.core.spending import Admission, Denied, Most
from agents.events import (
    AudioOut,
    Caption,
    Degraded,
    Failed,
    RecordingTranscribed,
    ReplyText,
    TurnCompleted,
    TurnStarted,
)
from agents.loop.agent import Agent
from agents.models.port import Message
from agents.models.scripted import ScriptedModel
from audio.formats import Samples
from audio.stt.scripted import ScriptedSpeechToText
from metering.ledger import UsageQuery

SPENT = Denied("billing.payment_required", "The budget is used up.")
UNSPOKEN = replace(SPENT, audible=False)
DIRECTED = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900, auto_reply=False)


class Purse:
    """A purse that does as it is told."""

    def __init__(self, *, denied: Denied | None = None, asks: str | None = None, hears: bool = True) -> None:
        self.thrifty = False
        self.denied = None if hears else denied
        self._refuses = denied
        self._asks = asks
        self._hears = hears
        self.recites = False
        """Whether what is only recited is admitted in any case."""
        self.admitted: list[tuple[str, Most]] = []
        self.dropped_turns: list[str] = []

    def affords(self, samples: int) -> bool:
        assert samples > 0
        return self._hears

    async def admit(self, turn_id: str, text: str, most: Most) -> Admission:
        self.admitted.append((text, most))
        if self.recites and not most.input_tokens:
            return Admission()
        return Admission(self._refuses, self._asks)

    def dropped(self, turn_id: str) -> None:
        self.dropped_turns.append(turn_id)


def spends(purse: Purse, cheap: ScriptedModel | None = None) -> Script:
    """A session with this purse, and a cheaper model to fall back on."""

    def means(engines: Engines) -> Engines:
        thrifty = None if cheap is None else replace(engines, agent=Agent(engines.agent.spec, cheap))
        return replace(engines, spending=purse, thrifty=thrifty)

    return Script(means=means)


def test_a_turn_that_is_refused_asks_no_model_and_says_why() -> None:
    async def main() -> None:
        async with conversation(spends(Purse(denied=SPENT))) as talk:
            await talk.speak(800)
            await talk.until(TurnCompleted)
            done = talk.one(TurnCompleted)
            assert done.error_code == "billing.payment_required"
            assert talk.model.requests == []
            assert [event.code for event in talk.all(Failed)] == ["billing.payment_required"]
            assert any(event.text == SPENT.message and event.only for event in talk.all(Caption))
            assert done.usage.output_tokens == 0

    run_virtual(main())


def test_where_the_user_is_asked_the_question_is_the_answer() -> None:
    async def main() -> None:
        async with conversation(spends(Purse(asks="Shall I go on?"))) as talk:
            await talk.speak(800)
            await talk.until(TurnCompleted)
            done = talk.one(TurnCompleted)
            assert done.text == "Shall I go on?"
            assert talk.model.requests == []
            assert "".join(event.text for event in talk.all(ReplyText)) == "Shall I go on?"

    run_virtual(main())


def test_every_draft_is_admitted_and_one_that_came_to_nothing_is_told() -> None:
    async def main() -> None:
        purse = Purse()
        async with conversation(spends(purse)) as talk:
            await talk.speak(1_000)
            await talk.quiet(220)
            await talk.speak(600)
            await talk.until(TurnCompleted)
            assert len(purse.admitted) == len(talk.model.requests) == 2
            assert len(purse.dropped_turns) == 1
            assert all(most.input_tokens > 0 and most.output_tokens > 0 for _, most in purse.admitted)

    run_virtual(main())


def test_speech_that_cannot_be_afforded_is_not_recognised_and_that_is_told() -> None:
    async def main() -> None:
        async with conversation(spends(Purse(denied=SPENT, hears=False))) as talk:
            await talk.speak(800)
            await talk.quiet(1_500)
            await talk.until(Failed)
            assert talk.all(Failed)[0].code == "billing.payment_required"
            assert talk.model.requests == []
        assert talk.recorder.ledger.totals(UsageQuery()).audio_ms_in == 0

    run_virtual(main())


def test_when_there_is_little_left_the_cheapest_engines_take_over_once() -> None:
    async def main() -> None:
        purse, cheap = Purse(), ScriptedModel("Cheap.", repeat=True)
        async with conversation(spends(purse, cheap)) as talk:
            await talk.speak(800)
            await talk.until(TurnCompleted)
            purse.thrifty = True
            for count in (2, 3):
                await talk.speak(800)
                await talk.until(TurnCompleted, count=count)
            assert len(talk.model.requests) == 1
            assert len(cheap.requests) == 2
            assert [event.reason for event in talk.all(Degraded)] == ["budget"]

    run_virtual(main())


@pytest.mark.parametrize("denied", [SPENT, UNSPOKEN])
def test_why_speech_is_not_recognised_is_said_or_where_the_voice_costs_what_is_gone_read_and_told_once(
    denied: Denied,
) -> None:
    async def main() -> None:
        purse = Purse(denied=denied, hears=False)
        purse.recites = True
        script = spends(purse)
        script.hears = [""]
        async with conversation(script) as talk:
            await talk.speak(800)
            await talk.quiet(3_000)
            assert [event.code for event in talk.all(Failed)] == ["billing.payment_required"]
            assert [event.text for event in talk.all(Caption) if event.speaker == "agent"] == [denied.message]
            assert bool(talk.all(AudioOut)) is bool(talk.all(TurnStarted)) is denied.audible

    run_virtual(main())


async def seconds(count: int) -> Samples:
    return np.full(16_000 * count, 5_000, np.int16)


@pytest.mark.parametrize("denied", [SPENT, UNSPOKEN])
def test_a_recording_that_cannot_be_afforded_is_not_recognised_and_that_is_told_once(denied: Denied) -> None:
    async def main() -> None:
        purse = Purse(denied=denied, hears=False)
        purse.recites = True
        script = spends(purse)
        script.policy = DIRECTED
        async with conversation(script) as talk:
            talk.session.history.add(Message("user", ""), "item_1")
            talk.session.transcribe_item("item_1", lambda: seconds(1))
            await talk.until(RecordingTranscribed)
            await talk.quiet(1_000)
            assert talk.one(RecordingTranscribed).text is None
            assert talk.one(Failed).code == "billing.payment_required"
            assert [event.text for event in talk.all(Caption)] == [denied.message]
            assert bool(talk.all(AudioOut)) is denied.audible
        assert talk.recorder.ledger.totals(UsageQuery()).audio_ms_in == 0

    run_virtual(main())


def test_of_a_recording_as_much_is_recognised_as_can_be_afforded_and_counted() -> None:
    class Meagre(Purse):
        def affords(self, samples: int) -> bool:
            self.denied, before = UNSPOKEN, self.denied
            return before is None

    async def main() -> None:
        script = spends(Meagre())
        script.policy = DIRECTED
        async with conversation(script) as talk:
            talk.session.transcribe_item("item_1", lambda: seconds(30))
            await talk.until(RecordingTranscribed)
            assert talk.one(RecordingTranscribed).text is None
            await talk.until(Failed)
        assert 15_000 <= talk.recorder.ledger.totals(UsageQuery()).audio_ms_in <= 20_000

    run_virtual(main())


def test_when_there_is_little_left_recordings_are_recognised_by_the_cheapest_engines() -> None:
    async def main() -> None:
        purse = Purse()

        def means(engines: Engines) -> Engines:
            cheap = replace(engines, stt=ScriptedSpeechToText(["By the cheap one."]))
            return replace(engines, spending=purse, thrifty=cheap)

        async with conversation(Script(hears=["By the dear one."], means=means, policy=DIRECTED)) as talk:
            for count, thrifty in ((1, False), (2, True)):
                purse.thrifty = thrifty
                talk.session.transcribe_item(f"item_{count}", lambda: seconds(1))
                await talk.until(RecordingTranscribed, count=count)
            words = [event.text for event in talk.all(RecordingTranscribed)]
            assert words == ["By the dear one.", "By the cheap one."]

    run_virtual(main())
