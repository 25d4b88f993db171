"""Work that is given up when something else has happened, such as the end of the call it is about."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from server.telephony.port import CallControlError

Work = Callable[[], Coroutine[Any, Any, object]]


async def unless(happens: anyio.Event, work: Work, beside: Work | None = None) -> None:
    """Return once ``work`` is done, or ``happens`` is set and it was cancelled; ``beside`` runs for as long.

    Raises CallControlError as ``work`` does, in no group.
    """
    failure: CallControlError | None = None

    async def do() -> None:
        nonlocal failure
        try:
            await work()
        except CallControlError as error:
            failure = error
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        if beside is not None:
            tasks.start_soon(beside)
        tasks.start_soon(do)
        await happens.wait()
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
