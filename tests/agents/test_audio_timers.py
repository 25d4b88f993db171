"""Timers on the audio clock, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from virtual_time import run_virtual

from agents.core.timers import MAX_HOLD_MS, STALL_SLACK_MS, AudioTimers

Fired = list[tuple[int, int]]


def play(body: Callable[[AudioTimers, Fired], Awaitable[None]]) -> Fired:
    """Run a body with timers; what they fired, as (timer, audio ms)."""
    fired: Fired = []

    async def main() -> None:
        timers = AudioTimers(lambda timer, now_ms: fired.append((timer, now_ms)))
        await body(timers, fired)
        timers.close()
        await asyncio.sleep(60)

    run_virtual(main())
    return fired


def test_a_timer_fires_as_audio_passes_it_however_fast_it_comes() -> None:
    async def body(timers: AudioTimers, fired: Fired) -> None:
        timers.set(2, 700)
        timers.set(1, 500)
        timers.advance(499)
        assert fired == []
        timers.advance(5_000)

    assert play(body) == [(1, 5_000), (2, 5_000)]


def test_a_timer_fires_a_little_late_where_audio_has_stopped() -> None:
    async def body(timers: AudioTimers, fired: Fired) -> None:
        timers.advance(100)
        timers.set(1, 500)
        await asyncio.sleep((400 + STALL_SLACK_MS - 1) / 1_000)
        assert fired == []
        await asyncio.sleep(0.002)

    assert play(body) == [(1, 500)]


def test_a_timer_that_has_come_due_is_held_for_a_moment_only() -> None:
    async def body(timers: AudioTimers, fired: Fired) -> None:
        timers.set(1, 500)
        timers.advance(500, hold=True)
        assert fired == []
        timers.advance(500 + MAX_HOLD_MS, hold=True)

    assert play(body) == [(1, 500 + MAX_HOLD_MS)]


def test_a_wait_for_an_engine_is_not_shortened_by_a_burst_of_audio() -> None:
    async def body(timers: AudioTimers, fired: Fired) -> None:
        timers.advance(1_000)
        timers.set_engine_wait(1, 3_000)
        timers.advance(9_000)
        await asyncio.sleep(1.999)
        assert fired == []
        await asyncio.sleep(0.002)

    assert play(body) == [(1, 9_000)]


def test_nothing_fires_after_the_end() -> None:
    async def body(timers: AudioTimers, fired: Fired) -> None:
        timers.set(1, 500)
        timers.set_engine_wait(2, 500)
        timers.close()
        timers.advance(9_000)

    assert play(body) == []
