"""Connections made in advance: bounded, replaced, never leaked, never shared between tenants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from audio.azure.bridge import EventBridge
from audio.azure.pool import WarmPool
from audio.azure.room import ConnectionRoom
from audio.azure.settings import PoolOptions
from audio.errors import EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable
from audio.inference import InferencePool


class Thing:
    def __init__(self) -> None:
        self.is_healthy = True
        self.disposed = threading.Event()

    def dispose(self) -> None:
        self.disposed.set()


class Factory:
    def __init__(self) -> None:
        self.made: list[Thing] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> Thing:
        self.gate.wait(5)
        if self.error is not None:
            raise self.error
        self.made.append(Thing())
        return self.made[-1]


@pytest.fixture
async def workers() -> AsyncIterator[InferencePool]:
    async with InferencePool(workers=2) as pool:
        yield pool


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def pool_of(
    factory: Factory, workers: InferencePool, now: list[float] | None = None, **options: float
) -> WarmPool[Thing]:
    clock = now if now is not None else [0.0]
    return WarmPool(factory, workers, PoolOptions(**options), "stt", lambda: clock[0])  # type: ignore[arg-type]


async def test_spares_are_made_in_advance_and_replaced_when_taken(workers: InferencePool) -> None:
    factory = Factory()
    pool = pool_of(factory, workers, spares=2)
    pool.fill()
    await until(lambda: pool.spares == 2)
    taken = pool.take()
    assert taken in factory.made
    await until(lambda: pool.spares == 2)
    assert pool.alive == 3
    pool.discard(taken)
    await until(lambda: pool.alive == 2)
    await pool.aclose()
    assert all(thing.disposed.is_set() for thing in factory.made)
    assert pool.alive == 0


async def test_sick_and_stale_spares_are_replaced(workers: InferencePool) -> None:
    factory, now = Factory(), [0.0]
    pool = pool_of(factory, workers, now, spares=2, max_idle_s=60)
    pool.fill()
    await until(lambda: pool.spares == 2)
    factory.made[1].is_healthy = False
    now[0] = 30
    assert pool.take() is factory.made[0]
    await until(lambda: pool.spares == 2)
    now[0] = 100
    assert pool.take() is None, "all of them idled too long"
    await until(lambda: pool.spares == 2)
    await pool.aclose()


async def test_a_spare_that_lost_its_socket_is_replaced_before_anybody_asks(workers: InferencePool) -> None:
    factory = Factory()
    pool = pool_of(factory, workers, spares=1, check_s=0.01)
    pool.fill()
    await until(lambda: pool.spares == 1)
    factory.made[0].is_healthy = False
    await until(lambda: len(factory.made) == 2 and pool.spares == 1)
    assert factory.made[0].disposed.wait(5)
    await pool.aclose()


async def test_it_is_bounded(workers: InferencePool) -> None:
    pool = pool_of(Factory(), workers, spares=0, most=2)
    held = [await pool.acquire() for _ in range(2)]
    with pytest.raises(EngineOverloaded):
        await pool.acquire()
    pool.give_back(held[0])
    assert await pool.acquire() is held[0]
    await pool.aclose()


async def test_failures_are_told_and_retried_with_pauses(workers: InferencePool) -> None:
    factory = Factory()
    factory.error = EngineUnavailable("no token", stage="stt", provider="azure")
    pool = pool_of(factory, workers, spares=1, first_retry_s=0.01)
    pool.fill()
    await until(lambda: pool.last_error is factory.error)
    with pytest.raises(EngineUnavailable, match="no token"):
        await pool.acquire()
    factory.error = None
    await until(lambda: pool.spares == 1)
    assert pool.last_error is None
    factory.error = RuntimeError("[CALL STACK]\n...\n[END]\n\n0x1f")
    with pytest.raises(EngineError, match=r"failed \(0x1f\)"):
        await pool_of(factory, workers, spares=0).acquire()
    await pool.aclose()


async def test_what_comes_too_late_or_is_not_wanted_any_more_is_released(workers: InferencePool) -> None:
    factory = Factory()
    factory.gate.clear()
    pool = pool_of(factory, workers, spares=0, make_limit_s=0.02)
    with pytest.raises(EngineTimeout):
        await pool.acquire()
    waiting = asyncio.get_running_loop().create_task(pool.acquire())  # type: ignore[var-annotated]
    await asyncio.sleep(0)
    waiting.cancel()
    factory.gate.set()
    await until(lambda: len(factory.made) >= 1 and all(thing.disposed.is_set() for thing in factory.made))
    await until(lambda: pool.alive == 0)


async def test_pools_together_are_bounded_and_spares_leave_room_for_who_is_speaking(workers: InferencePool) -> None:
    room = ConnectionRoom(4)
    options = PoolOptions(spares=2, most=4)
    first, second = (WarmPool(Factory(), workers, options, "stt", room=room) for _ in range(2))
    first.fill()
    await until(lambda: first.spares == 2)
    second.fill()
    await until(lambda: second.spares == 1)
    assert room.is_tight, "a quarter is left for sessions"
    held = [await second.acquire(), await second.acquire()]
    with pytest.raises(EngineOverloaded, match="of this server"):
        await second.acquire()
    assert room.used == room.most
    second.give_back(held[0])
    await first.aclose()
    assert await second.acquire() is held[0]
    for item in held:
        second.discard(item)
    await second.aclose()
    await until(lambda: room.used == 0)


async def test_events_cross_to_the_loop_in_order_bounded_and_not_after_closing() -> None:
    heard: list[int] = []
    bridge = EventBridge(asyncio.get_running_loop(), overflow=-1, limit=3, hard_limit=6)
    for number in range(5):
        await asyncio.to_thread(bridge.post, number, may_drop=True)
    bridge.post(10)
    bridge.connect(heard.append)
    await asyncio.sleep(0.01)
    assert (heard, bridge.dropped) == ([0, 1, 2, 10], 2)
    bridge.connect(None)
    for number in range(20, 30):
        bridge.post(number)
    bridge.connect(heard.append)
    await asyncio.sleep(0.01)
    assert heard[4:] == [20, 21, 22, 23, 24, 25, -1], "told once that it did not fit"
    bridge.close()
    bridge.post(99)
    await asyncio.sleep(0.01)
    assert 99 not in heard
