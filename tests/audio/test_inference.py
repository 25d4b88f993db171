from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import anyio
import pytest
import pytest_asyncio

from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority

LIMIT_S = 10.0


class Gate:
    """A job that occupies a worker until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.release.wait(LIMIT_S)
        return "released"


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[InferencePool]:
    async with InferencePool(workers=1, max_queued=4) as running:
        yield running


async def occupied(pool: InferencePool) -> tuple[Gate, asyncio.Future[str]]:
    gate = Gate()
    answer = pool.submit(gate, priority=Priority.NORMAL, limit_s=LIMIT_S)
    assert await asyncio.to_thread(gate.entered.wait, LIMIT_S)
    return gate, answer


async def test_a_result_comes_back_from_a_thread_that_is_not_the_loops(pool: InferencePool) -> None:
    assert await pool.run(threading.get_ident, priority=Priority.NORMAL, limit_s=LIMIT_S) != threading.get_ident()


@pytest.mark.parametrize("raised", [ValueError("no"), StopIteration("odd"), SystemExit(3)])
async def test_what_a_job_raises_reaches_the_waiter_and_the_pool_survives(
    pool: InferencePool, raised: BaseException
) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises((ValueError, RuntimeError)):
        await pool.run(fail, priority=Priority.NORMAL, limit_s=LIMIT_S)
    assert await pool.run(lambda: 7, priority=Priority.NORMAL, limit_s=LIMIT_S) == 7
    assert (pool.completed, pool.busy) == (2, 0)


async def test_urgent_work_overtakes_normal_work_and_equals_keep_their_order(pool: InferencePool) -> None:
    gate, first = await occupied(pool)
    order: list[str] = []
    jobs = [
        pool.submit(lambda name=name: order.append(name), priority=priority, limit_s=LIMIT_S)
        for name, priority in (
            ("normal 1", Priority.NORMAL),
            ("normal 2", Priority.NORMAL),
            ("urgent 1", Priority.URGENT),
            ("urgent 2", Priority.URGENT),
        )
    ]
    assert pool.queued == 4
    gate.release.set()
    await asyncio.gather(first, *jobs)
    assert order == ["urgent 1", "urgent 2", "normal 1", "normal 2"]


async def test_background_work_is_refused_at_once_while_the_only_worker_is_busy(pool: InferencePool) -> None:
    gate, first = await occupied(pool)
    with pytest.raises(PoolBusy):
        pool.submit(lambda: None, priority=Priority.BACKGROUND, limit_s=LIMIT_S)
    assert (pool.refused, pool.queued, pool.busy) == (1, 0, 1)
    gate.release.set()
    await first


async def test_background_work_never_takes_the_last_idle_worker_of_several() -> None:
    async with InferencePool(workers=2) as pool:
        gate = Gate()
        background = pool.submit(gate, priority=Priority.BACKGROUND, limit_s=LIMIT_S)
        assert await asyncio.to_thread(gate.entered.wait, LIMIT_S)
        with pytest.raises(PoolBusy):
            pool.submit(lambda: None, priority=Priority.BACKGROUND, limit_s=LIMIT_S)
        assert await pool.run(lambda: "at once", priority=Priority.URGENT, limit_s=LIMIT_S) == "at once"
        gate.release.set()
        assert await background == "released"


async def test_a_full_queue_refuses_even_urgent_work(pool: InferencePool) -> None:
    gate, first = await occupied(pool)
    jobs = [pool.submit(lambda: None, priority=Priority.NORMAL, limit_s=LIMIT_S) for _ in range(4)]
    with pytest.raises(PoolBusy):
        await pool.run(lambda: None, priority=Priority.URGENT, limit_s=LIMIT_S)
    gate.release.set()
    await asyncio.gather(first, *jobs)


async def test_a_job_that_has_not_begun_is_dropped_when_its_waiter_is_cancelled(pool: InferencePool) -> None:
    gate, first = await occupied(pool)
    ran: list[bool] = []
    waiter = pool.submit(lambda: ran.append(True), priority=Priority.URGENT, limit_s=LIMIT_S)
    waiter.cancel()
    await asyncio.sleep(0)
    assert pool.queued == 0
    gate.release.set()
    await first
    await pool.run(lambda: None, priority=Priority.NORMAL, limit_s=LIMIT_S)
    assert ran == []


async def test_a_job_that_takes_too_long_times_out_and_its_late_result_is_ignored(pool: InferencePool) -> None:
    gate = Gate()
    with pytest.raises(TimeoutError):
        await pool.run(gate, priority=Priority.URGENT, limit_s=0.01)
    gate.release.set()
    assert await pool.run(lambda: 7, priority=Priority.NORMAL, limit_s=LIMIT_S) == 7


async def test_a_job_that_waits_too_long_times_out_and_never_runs(pool: InferencePool) -> None:
    gate, first = await occupied(pool)
    ran: list[bool] = []
    with pytest.raises(TimeoutError):
        await pool.run(lambda: ran.append(True), priority=Priority.NORMAL, limit_s=0.01)
    gate.release.set()
    await first
    await pool.run(lambda: None, priority=Priority.NORMAL, limit_s=LIMIT_S)
    assert ran == []


async def test_closing_ends_queued_work_and_refuses_more() -> None:
    pool = InferencePool(workers=1)
    await pool.start()
    gate, first = await occupied(pool)
    queued = pool.submit(lambda: None, priority=Priority.NORMAL, limit_s=LIMIT_S)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.aclose)
        with pytest.raises(PoolClosed):
            await queued
        with pytest.raises(PoolClosed):
            await pool.run(lambda: None, priority=Priority.NORMAL, limit_s=LIMIT_S)
        gate.release.set()
        assert await first == "released"


async def test_work_before_the_start_is_refused() -> None:
    with pytest.raises(PoolClosed):
        await InferencePool().run(lambda: None, priority=Priority.NORMAL, limit_s=LIMIT_S)


def test_a_job_that_outlives_its_loop_harms_nobody() -> None:
    pool = InferencePool(workers=1)
    gate = Gate()

    async def leave_behind() -> None:
        await pool.start()
        pool.submit(gate, priority=Priority.NORMAL, limit_s=LIMIT_S)
        assert await asyncio.to_thread(gate.entered.wait, LIMIT_S)

    async def come_back() -> str:
        try:
            return await pool.run(lambda: "still here", priority=Priority.NORMAL, limit_s=LIMIT_S)
        finally:
            await pool.aclose()

    asyncio.run(leave_behind())
    gate.release.set()
    assert asyncio.run(come_back()) == "still here"
