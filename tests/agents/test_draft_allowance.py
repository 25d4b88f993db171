"""What drafts may waste, per tenant and over a sliding window, and what sessions do beyond it."""

from __future__ import annotations

import asyncio

import pytest
from conversation import Script, Talk, conversation
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from agents.core.accounts import TurnAccount
from agents.core.draft_allowance import START_TOKENS, WINDOW_S, DraftAllowances
from agents.events import ReplyText, TurnCompleted, TurnStarted
from agents.models.port import ModelProfile, Overtaken, TokenUsage
from metering.ledger import UsageQuery, read_all


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_tenant_may_waste_a_little_to_begin_with_and_then_its_share() -> None:
    allowances = DraftAllowances(0.15, Clock())
    ours = allowances.of("ours")
    assert ours.may_draft()
    ours.spent(START_TOKENS - 1, 0)
    assert ours.may_draft()
    ours.spent(1, 0)
    assert (ours.may_draft(), allowances.paused) == (False, 1)
    ours.spent(0, 1_000)
    assert (ours.may_draft(), allowances.paused) == (True, 0)
    ours.spent(150, 0)
    assert not ours.may_draft()


def test_what_one_tenant_wastes_costs_no_other_its_drafts_and_all_its_sessions_theirs() -> None:
    allowances = DraftAllowances(0.15, Clock())
    ours, also_ours, theirs = (allowances.of(name) for name in ("ours", "ours", "theirs"))
    ours.spent(2 * START_TOKENS, 0)
    theirs.spent(0, 10)
    assert (ours.may_draft(), also_ours.may_draft(), theirs.may_draft()) == (False, False, True)
    assert (allowances.paused, allowances.tenants) == (1, 2)


def test_waste_that_has_left_the_window_no_longer_counts() -> None:
    clock = Clock()
    ours = DraftAllowances(0.15, clock).of("ours")
    ours.spent(50_000, 0)
    clock.now_s += WINDOW_S / 2
    ours.spent(0, 1_000)
    assert not ours.may_draft()
    clock.now_s += WINDOW_S / 2
    assert ours.may_draft()
    ours.spent(150, 0)
    assert not ours.may_draft(), "the credit was for the beginning"


def test_whoever_was_idle_for_a_whole_window_begins_anew() -> None:
    clock = Clock()
    allowances = DraftAllowances(0.15, clock)
    ours = allowances.of("ours")
    ours.spent(50_000, 0)
    clock.now_s += WINDOW_S
    assert (ours.may_draft(), allowances.paused, allowances.tenants) == (True, 0, 0)
    ours.spent(START_TOKENS - 1, 0)
    assert ours.may_draft()


def test_of_too_many_tenants_the_one_that_was_idle_longest_is_forgotten() -> None:
    allowances = DraftAllowances(0.15, Clock(), most_tenants=2)
    for name in ("a", "b", "a", "c"):
        allowances.of(name).spent(50_000, 0)
    assert allowances.tenants == 2
    assert [allowances.of(name).may_draft() for name in ("a", "b", "c")] == [False, True, False]


def test_a_share_of_nothing_forbids_drafts_and_of_more_than_all_is_none() -> None:
    ours = DraftAllowances(0.0, Clock()).of("ours")
    assert not ours.may_draft()
    ours.spent(0, 1_000_000)
    assert not ours.may_draft()
    with pytest.raises(ValueError, match="share"):
        DraftAllowances(1.1, Clock())


tokens = st.integers(0, 5_000)


@given(st.lists(st.tuples(tokens, tokens, st.floats(0, WINDOW_S / 3)), max_size=80))
def test_within_a_window_no_more_is_wasted_than_the_share_the_credit_and_one_draft(
    turns: list[tuple[int, int, float]],
) -> None:
    clock = Clock()
    ours = DraftAllowances(0.15, clock).of("ours")
    log: list[tuple[float, int, int]] = []
    for draft, answer, later_s in turns:
        clock.now_s += later_s
        wasted = draft if ours.may_draft() else 0
        ours.spent(wasted, answer)
        log.append((clock.now_s, wasted, answer))
        within = [entry for entry in log if entry[0] > clock.now_s - 0.9 * WINDOW_S]
        before = [entry for entry in log if entry[0] > clock.now_s - WINDOW_S * 1.05]
        most = START_TOKENS + 0.15 * sum(answer for _, _, answer in before) + 5_000
        assert sum(wasted for _, wasted, _ in within) <= most


def test_what_counts_as_wasted_are_drafts_and_models_that_were_merely_slower() -> None:
    turn = TurnAccount("turn_1", "assistant", 1)
    big, small = ModelProfile("azure", "big"), ModelProfile("azure", "small")
    late = [Overtaken(big, TokenUsage(100, 0, 5)), Overtaken(small, TokenUsage(40), "provider.timeout")]
    turn.asked_models(TokenUsage(200, 0, 20), (), late)
    turn.speculative_tokens = 999  # told before, when the draft was over
    assert turn.spent(was_draft=False) == (105, 260)
    assert turn.spent(was_draft=True) == (365, 0)


# --- in conversation ---


async def hesitate(talk: Talk, turns: int = 1) -> None:
    """Each time think during the sentence for long enough that a reply is drafted in vain."""
    for _ in range(turns):
        done = len(talk.all(TurnCompleted))
        await talk.speak(1_000)
        await talk.quiet(220)
        await talk.speak(600)
        await talk.until(TurnCompleted, count=done + 1)


def wasted(talk: Talk) -> list[bool]:
    """Of each turn, whether a draft came to nothing before it."""
    return [event.speculative_tokens > 0 for event in read_all(talk.recorder.ledger, UsageQuery())]


def test_a_session_drafts_until_its_tenants_allowance_is_spent_and_again_once_it_has_recovered() -> None:
    async def main() -> None:
        allowances = DraftAllowances(0.15, asyncio.get_running_loop().time)
        async with conversation(Script(drafts=allowances.of("ours"))) as talk:
            await hesitate(talk)
            allowances.of("ours").spent(50_000, 0)  # by another session of the tenant's
            await hesitate(talk)
            assert allowances.paused == 1
            asked = len(talk.model.requests)
            await talk.mute(round(WINDOW_S * 1_000))
            await hesitate(talk)
            assert len(talk.model.requests) == asked + 2
        assert wasted(talk) == [True, False, True]
        assert len(talk.all(TurnStarted)) == 3
        assert "".join(event.text for event in talk.all(ReplyText)).count("ten past four") == 3

    run_virtual(main())


def test_of_two_tenants_that_hesitate_only_the_one_that_wasted_too_much_waits() -> None:
    async def main() -> None:
        allowances = DraftAllowances(0.15, asyncio.get_running_loop().time)
        allowances.of("ours").spent(50_000, 0)
        talks: list[Talk] = []
        for tenant in ("ours", "theirs"):
            async with conversation(Script(drafts=allowances.of(tenant))) as talk:
                await hesitate(talk, 2)
            talks.append(talk)
        assert [wasted(talk) for talk in talks] == [[False, False], [True, True]]
        assert [len(talk.model.requests) for talk in talks] == [2, 4]
        assert allowances.paused == 1

    run_virtual(main())


def test_what_a_session_wastes_pauses_the_tenants_next_one() -> None:
    async def main() -> None:
        allowances = DraftAllowances(0.001, asyncio.get_running_loop().time)
        allowances.of("ours").spent(START_TOKENS - 1, 0)
        for in_vain in (True, False):
            async with conversation(Script(drafts=allowances.of("ours"))) as talk:
                await hesitate(talk)
            assert wasted(talk) == [in_vain]

    run_virtual(main())
