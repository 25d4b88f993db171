"""Two models asked for one answer, in virtual time: when, how often, who is heard, who is ended, and what it cost."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import pytest
from racing_models import (
    DOWN,
    HEDGED,
    MESSAGES,
    PLAIN,
    PROMPT,
    TAKEOVER_S,
    Model,
    Several,
    answers,
    cost,
    told,
    virtual,
    words,
)
from virtual_time import run_virtual

from agents.errors import ModelRateLimited, ModelRejected, ModelTimeout, ModelUnavailable
from agents.models.asked import AskedModels
from agents.models.hedging import FLOOR_S, HedgeAllowance
from agents.models.port import (
    AnsweredBy,
    Asked,
    Finished,
    ModelEvent,
    ModelProfile,
    ModelRequest,
    Overtaken,
    Preparing,
    TextDelta,
    TokenUsage,
    ToolRequest,
)
from agents.models.tokens import estimate_usage
from audio.breaker import BreakerState
from audio.pace import FEWEST


@virtual
async def test_a_late_model_is_hedged_at_its_p95_and_the_first_answer_wins() -> None:
    big, small = answers("big", 3.0), answers("small", 0.3)
    several = Several(big, small)
    events = await several.ask()
    assert (big.begun, small.begun) == ([0.0], [pytest.approx(0.4)])
    assert words(events) == "small says."
    assert told(events, Asked) == ["big", "small"]
    assert told(events, AnsweredBy) == ["small"]
    assert cost(events) == {"big": PROMPT}
    assert big.ended == [pytest.approx(0.7)], "the loser's request is ended as soon as it has lost"
    assert several.told == [], "nothing is degraded: the preferred model was only late this once"


@virtual
async def test_a_model_that_is_in_time_is_not_hedged_against() -> None:
    several = Several(answers("big", 0.3), small := answers("small", 0.0))
    assert words(await several.ask()) == "big says."
    assert small.begun == []


@virtual
async def test_the_late_model_may_still_win_and_the_hedge_is_ended() -> None:
    several = Several(answers("big", 0.6, gap_s=5.0), small := answers("small", 1.0))
    events = await several.ask()
    assert words(events) == "big says."
    assert told(events, AnsweredBy) == ["big"]
    assert cost(events) == {"small": PROMPT}
    assert small.ended == [pytest.approx(0.6)]


@virtual
async def test_who_speaks_at_the_same_moment_as_the_winner_is_not_heard_and_has_cost_its_words() -> None:
    several = Several(answers("big", 0.75, gap_s=5.0), small := answers("small", 0.35, gap_s=60.0))
    events = await several.ask()
    assert words(events) == "big says."
    assert small.ended == [pytest.approx(0.75)], "it is not left to write on"
    assert cost(events) == {"small": estimate_usage(MESSAGES, "small ")}


@virtual
async def test_the_winners_words_do_not_wait_until_the_loser_is_gone() -> None:
    big = answers("big", 9.0)
    big.closing_s = 1.0
    several = Several(big, answers("small", 0.1))
    async with aclosing(several.model.stream(HEDGED)) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                assert anyio.current_time() == pytest.approx(0.5)
                await anyio.sleep(0.2)
                break
    assert big.ended == [pytest.approx(1.5)], "but the generator ends after it, and lets it close what it holds"


@pytest.mark.parametrize(
    ("usually_s", "hedged_s"), [(0.01, FLOOR_S), (0.4, 0.4), (None, TAKEOVER_S), (7.0, TAKEOVER_S)]
)
def test_the_hedge_comes_at_the_p95_between_the_floor_and_the_takeover(
    usually_s: float | None, hedged_s: float
) -> None:
    async def body() -> None:
        small = answers("small", 0.0)
        await Several(answers("big", 9.0), small, usually_s=usually_s).ask()
        assert small.begun == [pytest.approx(hedged_s)]

    run_virtual(body())


@virtual
async def test_what_is_needed_sooner_is_taken_over_sooner() -> None:
    small = answers("small", 0.0)
    await Several(answers("big", 9.0), small).ask(ModelRequest(MESSAGES, within_s=0.7))
    assert small.begun == [pytest.approx(0.7)]
    late = answers("small", 0.0)
    await Several(answers("big", 9.0), late).ask(ModelRequest(MESSAGES, within_s=9.0))
    assert late.begun[0] - small.begun[0] == pytest.approx(TAKEOVER_S), "no later than without being asked"
    now_s = anyio.current_time()
    at_once = answers("small", 0.0)
    await Several(answers("big", 9.0), at_once).ask(ModelRequest(MESSAGES, within_s=-1.0))
    assert at_once.begun == [pytest.approx(now_s + FLOOR_S)]


@virtual
async def test_without_a_hedge_a_late_model_is_ended_before_another_is_asked_and_is_paid() -> None:
    several = Several(big := answers("big", 9.0), small := answers("small", 0.2))
    events = await several.ask(PLAIN)
    assert big.ended == small.begun == [pytest.approx(TAKEOVER_S)]
    assert cost(events) == {"big": PROMPT}
    assert isinstance(several.told[0].error, ModelTimeout)


@virtual
async def test_a_model_that_was_given_less_than_it_usually_takes_is_not_at_fault() -> None:
    several = Several(answers("big", 9.0), answers("small", 0.0), usually_s=1.2)
    for _ in range(5):
        await several.ask(ModelRequest(MESSAGES, within_s=0.5))
    assert several.state(0) is BreakerState.CLOSED
    for _ in range(3):
        await several.ask(ModelRequest(MESSAGES, within_s=1.3))
    assert several.state(0) is BreakerState.OPEN


@virtual
async def test_losing_is_no_failure_unless_the_own_limit_has_passed() -> None:
    several = Several(answers("big", 9.0), answers("small", 0.2), allowance=HedgeAllowance(1.0))
    for _ in range(5):
        await several.ask()
    assert several.shared.models[0].breaker.last_error is None
    slow = Several(answers("big", 9.0), answers("small", TAKEOVER_S), allowance=HedgeAllowance(1.0))
    for _ in range(3):
        await slow.ask()
    assert slow.state(0) is BreakerState.OPEN
    assert slow.told, "that is told"


@virtual
async def test_a_failure_lets_the_other_go_on_and_asks_the_next_only_when_nobody_is_left() -> None:
    big = Model("big", (0.5, DOWN))
    several = Several(big, answers("small", 1.0), third := answers("third", 0.0))
    events = await several.ask()
    assert words(events) == "small says."
    assert third.begun == []
    assert cost(events) == {"big": TokenUsage()}, "nobody was there: that costs nothing"
    several = Several(Model("big", (0.5, DOWN)), Model("small", (0.2, DOWN)), third)
    began_s = anyio.current_time()
    events = await several.ask()
    assert words(events) == "third says."
    assert third.begun == [pytest.approx(began_s + 0.6)], "at once"
    assert told(events, Overtaken) == ["big", "small"]


@virtual
async def test_where_both_fail_it_is_the_error_of_the_last_that_is_raised() -> None:
    events: list[ModelEvent] = []
    several = Several(Model("big", (0.8, DOWN)), Model("small", (0.2, ModelRejected("No key.", provider="x"))))
    with pytest.raises(ModelUnavailable):
        await several.ask(into=events)
    assert told(events, Asked) == ["big", "small"]
    assert told(events, Overtaken) == ["small"]


@virtual
async def test_a_hedge_asks_nobody_whose_breaker_is_open() -> None:
    several = Several(answers("big", 1.0), small := answers("small", 0.0), third := answers("third", 5.0))
    several.shared.models[1].breaker.failed(ModelRejected("No key.", provider="x"), 0.0)
    events = await several.ask()
    assert words(events) == "big says."
    assert small.begun == []
    assert third.begun == [pytest.approx(0.4)]


@virtual
async def test_where_nobody_may_be_asked_a_late_model_goes_on() -> None:
    several = Several(answers("big", 5.0), small := answers("small", 0.0))
    several.shared.models[1].breaker.failed(
        ModelRateLimited("Not now.", provider="azure_openai", retry_after_s=60), 0.0
    )
    for request in (HEDGED, PLAIN):
        assert words(await several.ask(request)) == "big says."
    assert small.begun == []


@virtual
async def test_nobody_is_hedged_against_who_prepares_a_tool_request() -> None:
    big = Model("big", (0.1, Preparing(), 3.0, ToolRequest("c", "clock", "{}"), Finished("tools", TokenUsage())))
    several = Several(big, small := answers("small", 0.0))
    events = await several.ask()
    assert told(events, AnsweredBy) == ["big"]
    assert small.begun == []


@virtual
async def test_of_many_late_requests_only_the_allowed_share_is_hedged() -> None:
    several = Several(answers("big", 1.0), small := answers("small", 9.0), allowance=HedgeAllowance(0.1))
    sessions = [several.shared.for_session(several.told.append) for _ in range(3)]
    for number in range(60):
        async with aclosing(sessions[number % 3].stream(HEDGED)) as stream:
            assert words([event async for event in stream]) == "big says."
    assert len(small.begun) == 7, "a tenth and the one that a server begins with, whichever session asks"


def test_an_allowance_saves_for_later_but_not_for_ever_and_none_is_none() -> None:
    allowance, none = HedgeAllowance(0.1, saved=2.0), HedgeAllowance(0.0)
    for each in (allowance, none):
        for _ in range(500):
            each.requested()
    allowance.spend()
    assert allowance.has_one
    allowance.spend()
    assert not allowance.has_one
    assert not none.has_one
    with pytest.raises(ValueError, match="share"):
        HedgeAllowance(1.1)


@virtual
async def test_paces_learn_from_answers_and_from_those_who_lost_for_being_slow() -> None:
    several = Several(answers("big", 0.3), answers("small", 9.0), usually_s=None)
    for _ in range(FEWEST):
        await several.ask()
    pace = several.shared.models[0].pace
    assert pace.p95_s(9.0) == pytest.approx(0.3)
    slow = Several(answers("big", 9.0), answers("small", 0.2), allowance=HedgeAllowance(1.0))
    await slow.ask()
    assert slow.shared.models[0].pace.p95_s(9.0) == pytest.approx(0.6, abs=0.01), "it took at least so long"
    assert slow.shared.models[1].pace.p95_s(9.0) == 9.0, "one answer is not enough"


@virtual
async def test_what_two_models_cost_is_known_when_nobody_waits_for_the_answer_any_more() -> None:
    several = Several(big := answers("big", 9.0), small := answers("small", 9.0))
    asked = AskedModels()
    with anyio.move_on_after(0.8):
        async with aclosing(several.model.stream(HEDGED)) as stream:
            async for event in stream:
                assert isinstance(event, Asked)
                asked.note(event)
    assert asked.current == big.profile, "whose cost is the answer's"
    assert asked.overtaken == [Overtaken(small.profile, PROMPT)]
    assert (big.open, small.open) == (0, 0)


def test_deployments_of_one_name_are_told_apart_by_count() -> None:
    twin, other = ModelProfile("azure_openai", "gpt"), ModelProfile("azure_openai", "gpt")
    asked = AskedModels()
    asked.note(Asked(twin, PROMPT))
    asked.note(Asked(other, PROMPT))
    assert asked.overtaken == [Overtaken(other, PROMPT)]
    asked.note(AnsweredBy(twin))
    assert asked.overtaken == [Overtaken(other, PROMPT)]
    asked.note(Overtaken(other, PROMPT))
    assert asked.overtaken == [Overtaken(other, PROMPT)]
