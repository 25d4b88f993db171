"""The circuit breaker, in a time of the test's own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from audio.breaker import BreakerOptions, BreakerState, CircuitBreaker
from audio.errors import EngineError, EngineOverloaded, EngineUnavailable

PASSING = EngineError("hiccup", stage="stt", provider="azure")
LASTING = EngineUnavailable("wrong key", stage="stt", provider="azure")


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=3, pause_s=5))
    for _ in range(2):
        breaker.failed(PASSING, 0)
    assert breaker.admits(0)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(PASSING, 1)
    assert breaker.admits(1)
    breaker.failed(PASSING, 1)
    assert not breaker.admits(5.9)
    assert breaker.last_error is PASSING


def test_it_lets_one_probe_through_and_closes_when_that_succeeds() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=1, pause_s=5))
    breaker.failed(PASSING, 0)
    assert breaker.admits(5)
    assert not breaker.admits(5), "the probe is under way"
    breaker.succeeded()
    assert breaker.state(5) is BreakerState.CLOSED
    assert breaker.admits(5)
    assert breaker.last_error is None


def test_a_failed_probe_opens_it_for_twice_as_long() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=1, pause_s=5, longest_pause_s=15))
    breaker.failed(PASSING, 0)
    assert breaker.admits(5)
    breaker.failed(PASSING, 5)
    assert not breaker.admits(14.9)
    assert breaker.admits(15)
    breaker.failed(PASSING, 15)
    assert not breaker.admits(29.9)
    assert breaker.admits(30)


def test_a_probe_that_was_not_needed_makes_room_for_another() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=1, pause_s=5))
    breaker.failed(PASSING, 0)
    assert breaker.admits(5)
    breaker.withdrawn()
    assert breaker.admits(5)


def test_a_probe_nobody_reports_on_is_given_up() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=1, pause_s=5, probe_limit_s=10))
    breaker.failed(PASSING, 0)
    assert breaker.admits(5)
    assert not breaker.admits(14)
    assert breaker.admits(15)


def test_what_does_not_mend_by_itself_opens_it_at_once() -> None:
    breaker = CircuitBreaker()
    breaker.failed(LASTING, 0)
    assert not breaker.admits(0)


def test_a_pause_the_service_asks_for_is_kept() -> None:
    breaker = CircuitBreaker(BreakerOptions(pause_s=5))
    breaker.failed(EngineOverloaded("429", stage="stt", provider="azure", retry_after_s=40), 0)
    assert not breaker.admits(39.9)
    assert breaker.admits(40)


def test_stragglers_of_an_outage_do_not_prolong_it() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=1, pause_s=5))
    for at_s in (0, 1, 2):
        breaker.failed(PASSING, at_s)
    assert breaker.admits(5)


@given(st.lists(st.sampled_from(["fail", "succeed", "withdraw", "ask"]), max_size=60), st.integers(1, 4))
def test_time_always_brings_another_try(steps: list[str], failures: int) -> None:
    options = BreakerOptions(failures=failures, pause_s=1, longest_pause_s=8, probe_limit_s=4)
    breaker, now_s = CircuitBreaker(options), 0.0
    for step in steps:
        now_s += 0.5
        match step:
            case "fail":
                breaker.failed(PASSING, now_s)
            case "succeed":
                breaker.succeeded()
                assert breaker.admits(now_s)
            case "withdraw":
                breaker.withdrawn()
            case _:
                breaker.admits(now_s)
    assert breaker.admits(now_s + options.longest_pause_s + options.probe_limit_s)


def test_a_quota_that_is_spent_rests_it_until_the_reset_without_a_failure() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=1, pause_s=5))
    spent = EngineError("nothing left", stage="stt", provider="azure", retry_after_s=30)
    breaker.spent(spent, 0)
    breaker.succeeded()
    assert breaker.state(29.9) is BreakerState.OPEN
    assert not breaker.admits(29.9)
    assert breaker.reason(29.9) is spent
    assert breaker.opens_in_s(10) == 20
    assert breaker.last_error is None
    assert breaker.admits(30)
    assert breaker.admits(30), "it is closed, not probed"
    assert breaker.reason(30) is None


def test_a_later_reset_is_not_forgotten_for_an_earlier_one() -> None:
    breaker = CircuitBreaker()
    for rest_s in (30, 2):
        breaker.spent(EngineError("nothing left", stage="stt", provider="azure", retry_after_s=rest_s), 0)
    assert not breaker.admits(29)


def test_a_refusal_may_open_it_at_once_for_the_usual_pause() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=3, pause_s=5))
    breaker.failed(PASSING, 0, at_once=True)
    assert not breaker.admits(4.9)
    assert breaker.opens_in_s(4) == 1
    assert breaker.admits(5)


def test_asking_whether_it_would_admit_costs_no_probe() -> None:
    breaker = CircuitBreaker(BreakerOptions(failures=1, pause_s=5))
    breaker.failed(PASSING, 0)
    assert not breaker.would_admit(4)
    assert breaker.would_admit(5)
    assert breaker.admits(5)
    assert not breaker.would_admit(5)
