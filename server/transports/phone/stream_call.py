"""One call over one media stream, from its first frame to its last: reads, writes, and holds the conversation.

Whatever the stream is made of comes as a ``Wire``. Every wait has a limit: for the stream to begin, for a carrier that
falls silent, for one that does not read. Driven by the socket endpoint and by the AudioSocket listener.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

import anyio

from audio.errors import AudioFormatError
from server.guard import Identity
from server.ids import new_id
from server.telephony.desk import PhoneDesk
from server.telephony.port import CallInfo
from server.transports.phone.outlet import OutletGone
from server.transports.phone.stream_leg import StreamLeg
from server.wire.phone.port import Frame, StreamBegan, StreamCodec, StreamEnded, StreamEvent, StreamFault

logger = logging.getLogger(__name__)

IDLE_S: Final = 30.0
"""How long a carrier may send nothing at all, not even silence, before the call counts as lost."""
WATCH_S: Final = 1.0
MOST_TOGETHER: Final = 32
"""Events that are heard at once, where they have come already."""
LET_GO_LIMIT_S: Final = 10.0


class Wire(Protocol):
    """A connection to a carrier."""

    in_bites: bool
    """Whether it is read in bites while the loop is busy (``server.loop_load``)."""

    async def receive(self) -> Frame:
        """What comes next. Raises ``WireGone``."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether ``receive`` would not have to wait."""
        ...

    async def send(self, frame: Frame) -> None:
        """Send a frame; waits while the carrier reads too slowly. Raises OutletGone."""
        ...

    @property
    def sending_since_s(self) -> float | None:
        """When the send now under way began (monotonic), or None."""
        ...

    def cut(self) -> None:
        """End the connection without waiting."""
        ...


class WireGone(Exception):
    """The connection is gone. ``orderly``: the carrier closed it as one does."""

    def __init__(self, *, orderly: bool) -> None:
        super().__init__("the connection is gone")
        self.orderly = orderly


@dataclass(frozen=True, slots=True)
class StreamOpening:
    """How a stream came: over which carrier, for whom, for which call where its address says so."""

    carrier: str
    owner: Identity
    call_id: str | None = None
    carrier_call_id: str = ""
    parameters: dict[str, str] | None = None


class StreamCall:
    """One stream."""

    def __init__(self, desk: PhoneDesk, codec: StreamCodec, wire: Wire, opening: StreamOpening) -> None:
        self._desk = desk
        self._codec = codec
        self._wire = wire
        self._opening = opening
        limits = desk.host.settings.limits
        self._start_limit_s = limits.handshake_timeout_s
        self._send_limit_s = limits.send_timeout_s
        self._max_faults = limits.max_bad_messages
        self._faults = 0
        self._heard_s = time.monotonic()

    async def run(self) -> None:
        """Serve the stream until the call is over; the caller closes the connection."""
        try:
            with anyio.fail_after(self._start_limit_s):
                began, rest = await self._begin()
        except (WireGone, TimeoutError, StreamFault) as error:
            logger.info("stream did not begin", extra={"carrier": self._opening.carrier, "why": str(error)})
            return
        leg = StreamLeg(self._info(began), self._codec, began.audio, self._desk.control(self._opening.carrier))
        leg.in_bites = self._wire.in_bites
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, leg)
                tasks.start_soon(self._read, leg, rest)
                tasks.start_soon(self._watch, leg)
                await self._desk.hold(leg, self._opening.owner)
                await leg.sent_out(self._send_limit_s)
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(LET_GO_LIMIT_S):
                await leg.let_go()

    async def _begin(self) -> tuple[StreamBegan, list[StreamEvent]]:
        while True:
            events = self._events(await self._wire.receive())
            for at, event in enumerate(events):
                if isinstance(event, StreamBegan):
                    return event, events[at + 1 :]
                if isinstance(event, StreamEnded):
                    raise WireGone(orderly=True)

    def _info(self, began: StreamBegan) -> CallInfo:
        opening = self._opening
        parameters = {**(opening.parameters or {}), **began.parameters}
        call_id = opening.call_id or parameters.pop("call_id", None)
        named = began.carrier_call_id or opening.carrier_call_id
        expected = self._desk.expected(call_id) if call_id else None
        if expected is not None:
            return replace(
                expected,
                carrier_call_id=named or expected.carrier_call_id,
                caller=began.caller or expected.caller,
                callee=began.callee or expected.callee,
                parameters={**parameters, **expected.parameters},
            )
        # An id nobody expects is not taken over: it would write into the record of another call.
        return CallInfo(new_id("call"), opening.carrier, named, "inbound", began.caller, began.callee, parameters)

    def _events(self, frame: Frame) -> list[StreamEvent]:
        """What a frame says; nothing where it is faulty, as long as that is not the rule. Raises StreamFault."""
        self._heard_s = time.monotonic()
        try:
            events = self._codec.feed(frame)
        except StreamFault as fault:
            self._count(fault)
            return []
        if events:
            self._faults = 0
        return events

    def _count(self, fault: StreamFault | AudioFormatError) -> None:
        self._faults += 1
        if self._faults == 1:
            logger.info("a frame was faulty", extra={"carrier": self._opening.carrier, "why": str(fault)})
        if self._faults >= self._max_faults or (isinstance(fault, StreamFault) and fault.fatal):
            raise StreamFault(str(fault), fatal=True) from fault

    async def _read(self, leg: StreamLeg, rest: list[StreamEvent]) -> None:
        events = rest
        try:
            while True:
                self._feed(leg, events)
                events = list[StreamEvent]()
                events += self._events(await self._wire.receive())
                while self._wire.waiting and len(events) < MOST_TOGETHER:
                    events += self._events(await self._wire.receive())
        except (WireGone, StreamFault) as end:
            with suppress(StreamFault):
                self._feed(leg, events)  # what came before the end was said before it
            orderly = "caller" if isinstance(end, WireGone) and end.orderly else "lost"
            leg.lost("failed" if isinstance(end, StreamFault) else orderly)

    def _feed(self, leg: StreamLeg, events: list[StreamEvent]) -> None:
        """Raises StreamFault, for too many faults."""
        try:
            leg.feed(events)
        except AudioFormatError as error:
            self._count(error)

    async def _write(self, leg: StreamLeg) -> None:
        try:
            await leg.send(self._wire)
        except OutletGone:
            leg.lost("lost")
        finally:
            leg.sent.set()

    async def _watch(self, leg: StreamLeg) -> None:
        while True:
            await anyio.sleep(WATCH_S)
            now_s, since_s = time.monotonic(), self._wire.sending_since_s
            slow = since_s is not None and now_s - since_s > self._send_limit_s
            if slow or leg.overflowed or now_s - self._heard_s > IDLE_S:
                leg.lost("lost")
                self._wire.cut()
                return
