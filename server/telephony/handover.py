"""A warm transfer as the caller's conversation has it: somebody is called, told, and then bridged with the caller.

Until then the caller waits, hears the hold music, and is heard by nobody. Knows neither carriers nor the agent; where
the call goes out is a function it is given. Driven by ``server.telephony.conversation``, once each.
"""

from __future__ import annotations

import logging
import wave
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import anyio

from audio.formats import Samples
from server.sessions.live import LiveSession
from server.telephony import hold_music
from server.telephony.bridge import Bridge
from server.telephony.consultation import BRIEFING_LIMIT_S, Consultation
from server.telephony.port import CallControlError, PhoneLeg
from server.telephony.unless import unless

logger = logging.getLogger(__name__)

TICK_S: Final = 0.5

Consult = Callable[[str, Consultation], Awaitable[None]]
"""Calls a number or SIP URI; returns once they have answered and the consultation runs. Raises CallControlError."""


class HandOver:
    """The caller's side of one."""

    def __init__(
        self, leg: PhoneLeg, live: LiveSession, consultation: Consultation, consult: Consult, music: str
    ) -> None:
        """``music`` is ``telephony.hold_music``."""
        self._leg = leg
        self._live = live
        self._consultation = consultation
        self._consult = consult
        self._music = music
        self._waiting = anyio.CancelScope()
        """Of the music: until somebody talks with the caller again."""
        self._bridge: Bridge | None = None
        self._holding = False

    async def run(self, target: str, too_long: Callable[[], bool]) -> None:
        """Return once they have talked, and one of them has left or it took ``too_long``.

        Raises CallControlError where nobody took over: the caller is still there. Cancelled with the caller's session.
        """
        await unless(self._live.ended, partial(self._hand_over, target, too_long), beside=self._play)

    def heard(self, samples: Samples, rate_hz: int) -> None:
        """The next of the caller's voice."""
        if self._bridge is not None:
            self._bridge.heard(self._leg, samples, rate_hz)

    def digit(self, digit: str) -> None:
        """The caller pressed a key."""
        if self._bridge is not None:
            self._bridge.digit(self._leg, digit)

    def held(self, on: bool) -> None:
        """The caller does not listen, or listens again."""
        self._holding = on
        if self._bridge is not None:
            self._bridge.held(self._leg, on)

    async def _play(self) -> None:
        try:
            with self._waiting:
                await hold_music.play(self._leg, self._music, self._leg.rate_hz)
        except (OSError, EOFError, wave.Error) as error:
            logger.warning("no hold music", extra={"why": str(error)})

    def _silence(self) -> None:
        """Somebody else has the caller's ear from now on."""
        if not self._waiting.cancel_called:
            self._waiting.cancel()
            self._leg.clear()

    async def _hand_over(self, target: str, too_long: Callable[[], bool]) -> None:
        consultation = self._consultation
        try:
            await self._consult(target, consultation)
            with anyio.move_on_after(BRIEFING_LIMIT_S):
                await consultation.briefed.wait()
            colleague = consultation.leg
            if colleague is None or not consultation.stays:
                raise CallControlError("Whoever was called did not take over.")
            self._silence()
            self._bridge = bridge = Bridge(self._leg, colleague)
            bridge.held(self._leg, self._holding)
            consultation.join(bridge)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(bridge.run)
                while not consultation.over.is_set() and not too_long():
                    self._live.touch()
                    with anyio.move_on_after(TICK_S):
                        await consultation.over.wait()
                tasks.cancel_scope.cancel()
        finally:
            self._silence()
            self._bridge = None
            consultation.ended("agent")
