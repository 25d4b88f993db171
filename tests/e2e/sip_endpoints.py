"""A SIP endpoint of ours on free loopback ports, for tests, and somebody who converses over its calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import numpy as np

from audio.formats import Samples
from server.sip_settings import SipSettings
from server.telephony.port import HangUpReason
from server.telephony.sip.doorman import Admitted
from server.telephony.sip.endpoint import SipEndpoint
from server.telephony.sip.leg import SipLeg
from server.wire.sip.flow import Transport

LOOPBACK = {"name": "home", "networks": ["127.0.0.0/8"]}
LIMIT_S = 15.0


@dataclass
class Talk:
    """``PhoneListener`` of one call; keeps what it is told. ``echo`` says everything back."""

    leg: SipLeg
    admitted: Admitted | None = None
    echo: bool = False
    samples: list[Samples] = field(default_factory=list)
    rate_hz: int = 0
    digits: str = ""
    holds: list[bool] = field(default_factory=list)
    played_ms: list[int] = field(default_factory=list)
    reason: HangUpReason | None = None
    over: anyio.Event = field(default_factory=anyio.Event)

    def heard(self, samples: Samples, rate_hz: int) -> None:
        assert self.reason is None, "nothing follows the end"
        self.rate_hz = rate_hz
        self.samples.append(samples)
        if self.echo:
            self.leg.play(samples, rate_hz)

    def digit(self, digit: str) -> None:
        self.digits += digit

    def played(self, heard_ms: int) -> None:
        self.played_ms.append(heard_ms)

    def held(self, on: bool) -> None:
        self.holds.append(on)

    def ended(self, reason: HangUpReason) -> None:
        assert self.reason is None, "the end is told once"
        self.reason = reason
        self.over.set()

    @property
    def heard_ms(self) -> float:
        return sum(len(part) for part in self.samples) * 1_000 / self.rate_hz if self.rate_hz else 0.0

    @property
    def loudest(self) -> int:
        return max((int(np.abs(part.astype(int)).max()) for part in self.samples if len(part)), default=0)


@dataclass
class Exchange:
    """An endpoint that runs, and the calls it has had."""

    endpoint: SipEndpoint
    talks: list[Talk] = field(default_factory=list)

    def port(self, transport: Transport = "UDP") -> int:
        return self.endpoint.signalling.links.ports[transport]

    async def talk(self, at: int = 0) -> Talk:
        await eventually(lambda: len(self.talks) > at)
        return self.talks[at]

    async def empty(self) -> None:
        """Nothing is left of any call."""
        await eventually(lambda: self.endpoint.calls == self.endpoint.ports_taken == 0)


async def eventually(happened: Callable[[], object], within_s: float = LIMIT_S) -> None:
    """Return once it has happened."""
    with anyio.fail_after(within_s):
        while not happened():  # noqa: ASYNC110 - what happens, happens in other tasks and processes
            await anyio.sleep(0.01)


Converse = Callable[[Talk], Awaitable[None]]


async def until_over(talk: Talk) -> None:
    await talk.over.wait()


@asynccontextmanager
async def exchange(
    converse: Converse = until_over,
    *,
    echo: bool = True,
    certificates: tuple[Path, Path] | None = None,
    **settings: Any,
) -> AsyncGenerator[Exchange]:
    """An endpoint, while the body runs; its calls are ended with it."""
    chosen: dict[str, Any] = {"bind": "127.0.0.1", "udp_port": 0, "tcp_port": 0, "trunks": [LOOPBACK]}
    if certificates is not None:
        certificate, key = certificates
        chosen |= {"tls_port": 0, "tls_certificate": certificate, "tls_key": key, "tls_ca": certificate}
    made: list[Exchange] = []

    async def hold(leg: SipLeg, admitted: Admitted) -> None:
        talk = Talk(leg, admitted, echo)
        made[0].talks.append(talk)
        leg.listen(talk)
        await converse(talk)

    endpoint = SipEndpoint(SipSettings(enabled=True, **(chosen | settings)), hold)
    made.append(Exchange(endpoint))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run)
        with anyio.fail_after(LIMIT_S):
            await endpoint.listening.wait()
        yield made[0]
        tasks.cancel_scope.cancel()
    assert endpoint.calls == endpoint.ports_taken == 0, "calls end with their endpoint"
