"""Two telephone legs that talk with each other, the agent listening to neither.

Owns nothing but the keys on their way from one to the other; audio passes at once. Knows no session. Driven by
``server.telephony.consultation``.
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from audio.formats import Samples
from server.telephony.port import CallControlError, PhoneLeg

logger = logging.getLogger(__name__)

MOST_KEYS: Final = 32
KEY_LIMIT_S: Final = 5.0


class Bridge:
    """``one`` and ``other`` hear each other from now on."""

    def __init__(self, one: PhoneLeg, other: PhoneLeg) -> None:
        self._one = one
        self._other = other
        self._holding: set[int] = set()  # by the identity of the leg
        self._press, self._pressed = anyio.create_memory_object_stream[tuple[PhoneLeg, str]](MOST_KEYS)

    def heard(self, by: PhoneLeg, samples: Samples, rate_hz: int) -> None:
        """The next of what one of them says; nothing waits for who has put it on hold."""
        opposite = self._opposite(by)
        if id(opposite) not in self._holding:
            opposite.play(samples, rate_hz)

    def held(self, by: PhoneLeg, on: bool) -> None:
        """One of them does not listen, or listens again."""
        if on:
            self._holding.add(id(by))
            by.clear()
        else:
            self._holding.discard(id(by))

    def digit(self, by: PhoneLeg, digit: str) -> None:
        """One of them pressed a key; more than 32 that wait are dropped."""
        try:
            self._press.send_nowait((self._opposite(by), digit))
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            logger.info("key not passed on", extra={"call_id": by.info.call_id})

    async def run(self) -> None:
        """Pass keys on, until cancelled."""
        with self._press, self._pressed:
            async for leg, digit in self._pressed:
                try:
                    with anyio.fail_after(KEY_LIMIT_S):
                        await leg.send_digits(digit)
                except (CallControlError, TimeoutError) as error:
                    logger.info("key not passed on", extra={"call_id": leg.info.call_id, "why": str(error)})

    def _opposite(self, leg: PhoneLeg) -> PhoneLeg:
        return self._other if leg is self._one else self._one
