"""The wait at a pause: properties that hold for any text, voice, policy and speaker."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from agents.core.endpoint_pauses import ENOUGH, LONGEST_MS, NO_HABIT, REMEMBERED, SCALES, SHORTEST_MS, PauseHabit
from agents.core.endpoint_wait import Eagerness
from agents.core.policy import TurnPolicy, endpoint_wait_ms

texts = st.sampled_from(
    [
        "",
        "Yes.",
        "What time is it?",
        "Turn on the lights.",
        "The lights.",
        "turn on",
        "My number is 5 5",
        "I would like to",
    ]
)
hints = st.one_of(st.none(), st.floats(0, 1))
eagernesses: st.SearchStrategy[Eagerness] = st.sampled_from(["low", "auto", "high"])
habits = st.lists(st.integers(0, 3_000), max_size=40).map(lambda pauses: habit_of(*pauses))


def habit_of(*pauses_ms: int) -> PauseHabit:
    habit, at_ms = NO_HABIT, 0
    for pause_ms in pauses_ms:
        habit = habit.stopped(at_ms).resumed(at_ms + pause_ms)
        at_ms += pause_ms + 1_000
    return habit


@st.composite
def policies(draw: st.DrawFn) -> TurnPolicy:
    low, middle, high = sorted(draw(st.lists(st.integers(0, 5_000), min_size=3, max_size=3)))
    expected = draw(st.sampled_from([None, "number", "email", "name", "list"]))
    return TurnPolicy(min_wait_ms=low, wait_ms=middle, max_wait_ms=high, eagerness=draw(eagernesses), expected=expected)


@given(st.one_of(st.none(), texts), hints, policies(), habits)
def test_the_wait_is_between_floor_and_ceiling(
    text: str | None, hint: float | None, policy: TurnPolicy, habit: PauseHabit
) -> None:
    assert policy.min_wait_ms <= endpoint_wait_ms(text, hint, policy, habit) <= policy.max_wait_ms


@given(st.one_of(st.none(), texts), hints, st.integers(0, 5_000), eagernesses, habits)
def test_a_silence_the_client_names_is_exact(
    text: str | None, hint: float | None, silence_ms: int, eagerness: Eagerness, habit: PauseHabit
) -> None:
    policy = TurnPolicy(min_wait_ms=silence_ms, wait_ms=silence_ms, max_wait_ms=silence_ms, eagerness=eagerness)
    assert endpoint_wait_ms(text, hint, policy, habit) == silence_ms


@given(st.one_of(st.none(), texts), st.floats(0, 1), st.floats(0, 1), policies(), habits)
def test_a_voice_that_sounds_more_finished_is_never_waited_for_longer(
    text: str | None, one: float, other: float, policy: TurnPolicy, habit: PauseHabit
) -> None:
    unfinished, finished = sorted((one, other))
    assert endpoint_wait_ms(text, finished, policy, habit) <= endpoint_wait_ms(text, unfinished, policy, habit)


@given(texts, hints, habits)
def test_eagerness_only_ever_shortens(text: str, hint: float | None, habit: PauseHabit) -> None:
    waits = [endpoint_wait_ms(text, hint, TurnPolicy(eagerness=one), habit) for one in ("high", "auto", "low")]
    assert waits == sorted(waits)


@given(hints, habits)
def test_words_in_order_of_what_they_say(hint: float | None, habit: PauseHabit) -> None:
    said = ["Yes.", "What time is it?", "Turn on the lights.", "The lights.", "turn on", "five five", "I would like to"]
    waits = [endpoint_wait_ms(text, hint, TurnPolicy(), habit) for text in said]
    assert waits == sorted(waits)


@given(texts, hints, habits, habits)
def test_longer_pauses_never_shorten_the_wait(
    text: str, hint: float | None, one: PauseHabit, other: PauseHabit
) -> None:
    assume(one.scale <= other.scale)
    assert endpoint_wait_ms(text, hint, TurnPolicy(), one) <= endpoint_wait_ms(text, hint, TurnPolicy(), other)


@given(st.lists(st.integers(0, 10_000), max_size=100))
def test_what_is_learnt_of_a_speaker_is_bounded(pauses_ms: list[int]) -> None:
    habit = habit_of(*pauses_ms)
    low, high = SCALES
    assert len(habit.pauses_ms) <= REMEMBERED
    assert low <= habit.scale <= high
    assert all(SHORTEST_MS <= pause <= LONGEST_MS for pause in habit.pauses_ms)


@given(st.lists(st.integers(350, 450), min_size=ENOUGH + 2, max_size=REMEMBERED), st.integers(SHORTEST_MS, LONGEST_MS))
def test_one_odd_pause_changes_little(pauses_ms: list[int], odd_ms: int) -> None:
    assert abs(habit_of(*pauses_ms, odd_ms).scale - habit_of(*pauses_ms).scale) <= 0.25


def test_nothing_is_learnt_from_a_few_pauses() -> None:
    assert habit_of(900, 900).scale == 1.0
    assert habit_of(900, 900, 900).scale == SCALES[1]
