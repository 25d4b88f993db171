"""The virtual clock itself."""

from __future__ import annotations

import asyncio

import pytest
from virtual_time import VirtualTimeError, run_virtual


def test_an_hour_of_sleep_passes_exactly_and_at_once() -> None:
    async def main() -> float:
        await asyncio.sleep(3_599)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(3_599)


def test_timers_fire_in_order() -> None:
    async def main() -> list[int]:
        fired: list[int] = []
        loop = asyncio.get_running_loop()
        for delay in (3, 1, 2):
            loop.call_later(delay, fired.append, delay)
        await asyncio.sleep(4)
        return fired

    assert run_virtual(main()) == [1, 2, 3]


def test_a_wait_that_cannot_end_is_an_error_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises((VirtualTimeError, TimeoutError)):
        run_virtual(main(), limit_s=5)
