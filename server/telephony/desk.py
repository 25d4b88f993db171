"""The telephone calls of one server: those that run, those on record, and who places new ones.

Owns the carriers' HTTP client, the record of calls and the legs that are in conversation. Knows no stream and no route;
transports hand it legs, routes ask it for calls.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
import httpx
from anyio.to_thread import run_sync

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import LOCAL_USER, Identity
from server.host import DataDirectoryUnusable, Host
from server.ids import new_id
from server.telephony.acs.api import AcsApi
from server.telephony.acs.tokens import AcsTokens
from server.telephony.call_book import OPEN, BookedCall, CallBook
from server.telephony.consultation import Consultation
from server.telephony.control import CallControl, CallStatus, DialFailed, Dialler, Line, OutboundCall
from server.telephony.conversation import PhoneConversation
from server.telephony.held_call import CallRecord
from server.telephony.numbers import masked
from server.telephony.port import CallControlError, CallInfo, PhoneLeg
from server.telephony.twilio.api import TwilioApi
from server.telephony.whispers import Whispers

logger = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 2.0
EXPECTED_MOST: Final = 1_000
MINUTE_S: Final = 60.0
TOLD_LIMIT_S: Final = 60.0
"""Beyond the time a call may ring: until a carrier that says nothing is not waited for any more."""
ANSWERED_LIMIT_S: Final = 5.0
"""From an answer until its leg is held."""
FILE: Final = "calls.sqlite3"


@dataclass(frozen=True, slots=True)
class CallWish:
    """Whom to call and how. ``parameters`` are the conversation's (``agent_id``, ``locale``, ``greeting``)."""

    to: str
    carrier: str | None = None
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    hang_up_on_machine: bool = False


class PhoneDesk:
    """One server's. ``diallers`` place calls, by carrier; SIP adds its own."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.settings = host.settings.telephony
        self.whispers = Whispers(time.monotonic)
        self.diallers: dict[str, Dialler] = {}
        self.line: Line | None = None
        """Where somebody can be called who is to talk with a caller over a leg of ours."""
        self.acs: AcsApi | None = None
        self.acs_tokens: AcsTokens | None = None
        self._book: CallBook | None = None
        self._running: dict[str, PhoneConversation | Consultation] = {}
        self._consulted: dict[str, Consultation] = {}
        self._expected: OrderedDict[str, CallInfo] = OrderedDict()
        self._placed_s: deque[float] = deque()
        self._ringing: dict[str, float] = {}  # calls we placed, until when they count without a word of them
        metrics = host.metrics
        metrics.watch("convergio_phone_calls_open", "Telephone calls in conversation.", self._running.__len__)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Ready for calls while the body runs. Raises DataDirectoryUnusable."""
        path = self.host.settings.data_dir / FILE
        try:
            self._book = book = await run_sync(CallBook, path, self.host.epoch_ms())
        except sqlite3.Error as error:
            raise DataDirectoryUnusable(f"The record of calls {path} cannot be used ({error}).") from error
        try:
            async with httpx.AsyncClient(follow_redirects=False) as http:
                self._connect(http)
                yield
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(book.close)

    def _connect(self, http: httpx.AsyncClient) -> None:
        settings = self.settings
        if settings.twilio is not None:
            self.diallers["twilio"] = TwilioApi(settings.twilio, settings, http, self.whispers)
        if settings.acs is not None and settings.public_url is not None:
            self.acs = AcsApi(settings.acs, settings.public_url, http, lambda: self.host.epoch_ms() / 1_000)
            self.acs_tokens = AcsTokens(settings.acs, http)
            self.diallers["acs"] = self.acs

    def control(self, carrier: str) -> CallControl | None:
        """The API of a carrier's, where there is one."""
        return self.diallers.get(carrier)

    @property
    def owner(self) -> Identity:
        """To whom calls are attributed that come with a carrier's own credentials."""
        return self.caller(self.settings.tenant) if self.host.settings.guarded else LOCAL_USER

    def caller(self, tenant_id: str) -> Identity:
        """Whoever is on the line, in this tenant of the settings."""
        kind = self.host.settings.tenant_type(tenant_id)
        return Identity(tenant_id, "phone") if kind is None else Identity(tenant_id, "phone", tenant_type=kind)

    # --- calls that come, or are answered ---

    def require_room(self) -> None:
        """Raise Refused where no further call can be taken now."""
        self.host.registry.require_room()
        if len(self._running) >= self.settings.max_calls:
            raise Refused(ErrorCode.SERVER_OVERLOADED, retry_after_s=RETRY_AFTER_S)

    def _require_room_to_dial(self) -> None:
        """Calls that ring are counted, too: each of them may be answered."""
        self.require_room()
        now_s = time.monotonic()
        self._ringing = {call_id: until_s for call_id, until_s in self._ringing.items() if until_s > now_s}
        if len(self._running) + len(self._ringing) + len(self._consulted) >= self.settings.max_calls:
            raise Refused(ErrorCode.SERVER_OVERLOADED, retry_after_s=RETRY_AFTER_S)

    def expect(self, info: CallInfo) -> None:
        """A stream will come for this call, and name it by its ``call_id``."""
        self._expected[info.call_id] = info
        if len(self._expected) > EXPECTED_MOST:
            self._expected.popitem(last=False)

    def expected(self, call_id: str) -> CallInfo | None:
        """The call a stream has come for; once."""
        return self._expected.pop(call_id, None)

    async def hold(self, leg: PhoneLeg, owner: Identity) -> CallRecord:
        """Hold a conversation over a leg until it is over, on record."""
        info = leg.info
        self._ringing.pop(info.call_id, None)
        consulted = self._consulted.pop(info.call_id, None)
        if consulted is None:
            conversation = PhoneConversation(self.host, leg, owner, None if self.line is None else self._consult)
        else:
            conversation, owner = consulted.over_leg(leg), consulted.owner
        self._running[info.call_id] = conversation
        try:
            async with anyio.create_task_group() as tasks:  # nobody waits for a disk to be answered
                tasks.start_soon(self._note_active, info, owner)
                await conversation.run()
        finally:
            del self._running[info.call_id]
            await self._note_end(conversation.record)
        return conversation.record

    async def _consult(self, target: str, consultation: Consultation) -> None:
        """Call whoever is to take over a call; ``hold`` runs the consultation once they answer."""
        assert self.line is not None
        try:
            self._require_room_to_dial()
        except Refused as error:
            raise CallControlError("No more calls are made now.") from error
        call_id = new_id("call")
        self._consulted[call_id] = consultation
        try:
            await self.line.connect(target, CallInfo(call_id, self.line.carrier, "", "outbound", callee=target))
            with anyio.move_on_after(ANSWERED_LIMIT_S):
                await consultation.answered.wait()
        finally:
            self._consulted.pop(call_id, None)

    async def _note_active(self, info: CallInfo, owner: Identity) -> None:
        number = masked(info.callee if info.direction == "outbound" else info.caller)
        call = BookedCall(
            info.call_id,
            owner.tenant_id,
            None,
            "",
            info.carrier,
            info.carrier_call_id,
            info.direction,
            number,
            "active",
            "",
            self.host.epoch_ms(),
        )
        await self._write(lambda book: book.begin(call))
        await self.became(info.call_id, "active")

    async def _note_end(self, record: CallRecord) -> None:
        with anyio.CancelScope(shield=True):
            await self._write(lambda book: book.held(record.call_id, record.session_id, record.call_ms))
            await self.became(record.call_id, "ended", record.reason)

    async def became(self, call_id: str, status: CallStatus, reason: str = "") -> None:
        """What has become of a call, as its carrier or its conversation says."""
        now_ms = self.host.epoch_ms()
        if status not in OPEN:
            self._ringing.pop(call_id, None)
        await self._write(lambda book: book.became(call_id, status, reason, now_ms))

    # --- calls that are placed ---

    async def place(self, wish: CallWish, owner: Identity, request_id: str) -> tuple[BookedCall, bool]:
        """Call somebody, once for each ``request_id``. Returns the call, and whether it is new. Raises Refused."""
        to, parameters = wish.to, wish.parameters
        dialler = self._dialler(wish.carrier)
        if not any(to.startswith(prefix) for prefix in self.settings.dial_prefixes):
            raise Refused(ErrorCode.AUTH_FORBIDDEN, "Numbers like that may not be called (telephony.dial_prefixes).")
        asked = (to, dialler.carrier, sorted(parameters.items()), *(["no machine"] if wish.hang_up_on_machine else []))
        digest = hashlib.sha256(repr(asked).encode()).hexdigest()
        wanted = BookedCall(
            new_id("call"),
            owner.tenant_id,
            request_id,
            digest,
            dialler.carrier,
            "",
            "outbound",
            masked(to),
            "dialling",
            "",
            self.host.epoch_ms(),
        )
        call = await run_sync(self._opened.requested, owner.tenant_id, request_id)
        if call is None:
            self._require_room_to_dial()
            self._require_pace()
            self._ringing[wanted.call_id] = time.monotonic() + self.settings.ring_timeout_s + TOLD_LIMIT_S
            call = await run_sync(self._opened.begin, wanted)
        if call.call_id != wanted.call_id:
            self._ringing.pop(wanted.call_id, None)
            if call.fingerprint != digest:
                raise Refused(ErrorCode.REQUEST_INVALID, "This request_id was used for another call.")
            return call, False
        self.expect(CallInfo(call.call_id, call.carrier, "", "outbound", callee=to, parameters=parameters))
        with anyio.CancelScope(shield=True):  # whoever asked may leave: what is dialled is on record
            await self._dial(dialler, OutboundCall(call.call_id, to, wish.hang_up_on_machine))
        return await self.find(call.call_id, owner), True

    def _require_pace(self) -> None:
        """So many calls may be placed in a minute, whoever asks: numbers cost money."""
        now_s = time.monotonic()
        while self._placed_s and now_s - self._placed_s[0] > MINUTE_S:
            self._placed_s.popleft()
        if len(self._placed_s) >= self.settings.dials_per_minute:
            raise Refused(ErrorCode.RATE_LIMITED, retry_after_s=MINUTE_S - (now_s - self._placed_s[0]))
        self._placed_s.append(now_s)

    async def _dial(self, dialler: Dialler, call: OutboundCall) -> None:
        try:
            named = await dialler.dial(call)
        except DialFailed as failed:
            logger.warning("call not placed", extra={"call_id": call.call_id, "why": str(failed)})
            await self.became(call.call_id, "failed" if failed.certain else "unknown", str(failed))
        else:
            await self._write(lambda book: book.placed(call.call_id, named))

    def _dialler(self, carrier: str | None) -> Dialler:
        if not self.diallers:
            raise Refused(ErrorCode.REQUEST_INVALID, "No carrier is set up that calls can be placed with.")
        dialler = self.diallers.get(carrier or next(iter(self.diallers)))
        if dialler is None:
            raise Refused(ErrorCode.REQUEST_INVALID, f"Calls can be placed with: {', '.join(self.diallers)}.")
        return dialler

    async def find(self, call_id: str, owner: Identity) -> BookedCall:
        """A call of this owner's tenant. Raises Refused."""
        call = await run_sync(self._opened.find, call_id)
        if call is None or call.tenant_id != owner.tenant_id:
            raise Refused(ErrorCode.SESSION_NOT_FOUND, "There is no such call.")
        return call

    async def end(self, call_id: str, owner: Identity) -> None:
        """Hang up, whether the call is in conversation or rings yet; harmless where it is over. Raises Refused."""
        call = await self.find(call_id, owner)
        conversation = self._running.get(call_id)
        if conversation is not None:
            conversation.ended("agent")
            return
        dialler = self.diallers.get(call.carrier)
        if call.status not in {"ringing", "unknown"} or dialler is None or not call.carrier_call_id:
            return
        try:
            await dialler.hang_up(CallInfo(call_id, call.carrier, call.carrier_call_id, call.direction))
        except CallControlError as error:
            raise Refused(ErrorCode.PROVIDER_UNAVAILABLE, str(error)) from error
        await self.became(call_id, "ended", "agent")

    # --- the record ---

    @property
    def _opened(self) -> CallBook:
        assert self._book is not None, "the desk is not running"
        return self._book

    async def _write(self, write: Callable[[CallBook], object]) -> None:
        """A record that cannot be written does not end a call."""
        try:
            await run_sync(write, self._opened)
        except sqlite3.Error as error:
            logger.warning("a call is not on record", extra={"why": str(error)})
