"""Models raced against each other whatever they do and whenever whoever listens leaves: invariants."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from racing_models import (
    DONE,
    DOWN,
    MESSAGES,
    Model,
    Several,
    Step,
    told,
)
from virtual_time import run_virtual

from agents.errors import ModelError, ModelRateLimited, ModelRejected, ModelTimeout, ModelUnavailable
from agents.models.hedging import HedgeAllowance
from agents.models.port import (
    AnsweredBy,
    Asked,
    Finished,
    ModelEvent,
    ModelRequest,
    Overtaken,
    Preparing,
    TextDelta,
    TokenUsage,
    ToolRequest,
)
from audio.breaker import BreakerState

silence = st.floats(0.0, 3.0)
errors = st.sampled_from(
    [
        DOWN,
        ModelTimeout("Late.", provider="x"),
        ModelRateLimited("Not now.", provider="x", retry_after_s=5),
        ModelRejected("No key.", provider="x"),
        ModelUnavailable("It broke off.", provider="x", has_cost=True),
    ]
)


@st.composite
def scripts(draw: st.DrawFn, name: str) -> tuple[Step, ...]:
    """Silence, perhaps a sign of life, then words, a tool request or a failure; perhaps one after the first word."""
    head: list[Step] = [draw(silence)]
    if draw(st.booleans()):
        head += [Preparing(), draw(silence)]
    ending = draw(st.sampled_from(["words", "tool", "fails", "breaks", "mute"]))
    tails: dict[str, list[Step]] = {
        "words": [TextDelta(f"{name} "), draw(silence), TextDelta(f"{name}."), DONE],
        "tool": [ToolRequest(name, "clock", "{}"), Finished("tools", TokenUsage())],
        "fails": [draw(errors)],
        "breaks": [TextDelta(f"{name} "), draw(silence), draw(errors)],
        "mute": [30.0, DOWN],
    }
    return (*head, *tails[ending])


@settings(max_examples=150)
@given(
    st.data(),
    st.integers(1, 3),
    st.booleans(),
    st.none() | st.floats(0.0, 2.0),
    st.none() | st.floats(0.0, 6.0),
    st.booleans(),
)
def test_one_answer_is_heard_every_model_is_settled_once_and_nothing_is_left(
    data: st.DataObject, count: int, hedge: bool, within_s: float | None, leave_after_s: float | None, probes: bool
) -> None:
    names = ("a", "b", "c")[:count]
    models = [Model(name, data.draw(scripts(name))) for name in names]

    async def body() -> None:
        several = Several(*models, allowance=HedgeAllowance(1.0))
        if probes:
            for guarded in several.shared.models:
                guarded.breaker.failed(ModelRejected("No key.", provider="x"), 0.0)
            await anyio.sleep(3.0)  # longer than the breakers' pause
        before = asyncio.all_tasks()
        events: list[ModelEvent] = []
        failure: ModelError | None = None
        most = 0
        with anyio.move_on_after(float("inf") if leave_after_s is None else leave_after_s) as left:
            try:
                async with aclosing(several.model.stream(ModelRequest(MESSAGES, within_s=within_s, hedge=hedge))) as s:
                    async for event in s:
                        events.append(event)
                        most = max(most, sum(model.open for model in models))
            except ModelError as error:
                failure = error
        assert asyncio.all_tasks() == before
        assert all(model.open == 0 for model in models)
        assert most <= 2
        _check_events(events, over=not left.cancelled_caught, failure=failure)
        now_s = asyncio.get_running_loop().time()
        for number, guarded in enumerate(several.shared.models):
            assert several.state(number) is not BreakerState.HALF_OPEN or guarded.breaker.would_admit(now_s)

    run_virtual(body())


def _check_events(events: list[ModelEvent], *, over: bool, failure: ModelError | None) -> None:
    said = {event.text[0] for event in events if isinstance(event, TextDelta)}
    said |= {event.call_id for event in events if isinstance(event, ToolRequest)}
    answered, asked, lost = told(events, AnsweredBy), told(events, Asked), told(events, Overtaken)
    assert len(said) <= 1
    assert said <= set(answered)
    assert len(answered) <= 1
    assert len(set(asked)) == len(asked)
    settled = answered + lost
    assert len(set(settled)) == len(settled)
    assert set(settled) <= set(asked)
    kinds = [type(event) for event in events]
    if answered:
        first = kinds.index(AnsweredBy)
        assert not {Asked, Overtaken} & set(kinds[first:])
        assert not {TextDelta, ToolRequest, Finished} & set(kinds[:first])
    if over:
        unsettled = len(asked) - len(settled)
        assert unsettled == (1 if failure is not None and not answered else 0)
        assert failure is not None or isinstance(events[-1], Finished)
