"""One of our sessions held over a telephone call, from the moment it is answered until it is over.

Hears and speaks through a ``PhoneLeg`` and knows no carrier. Whoever hangs up, the session ends and its turns are
accounted for; however the session ends, the leg hangs up. Driven by whatever made the leg: ``run`` once.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Final

import anyio

from agents.events import (
    ServerEvent,
    SpeechDropped,
    SpeechStartedHeard,
    SpeechStoppedHeard,
    ToolReturned,
    TurnCompleted,
    TurnStarted,
)
from agents.loop.agent import Agent
from audio.formats import Samples
from server.guard import Identity
from server.host import Host
from server.sessions.live import LiveSession
from server.telephony.closing import Closing
from server.telephony.consultation import Consultation
from server.telephony.delivery import PhoneDelivery
from server.telephony.ear import Ear
from server.telephony.handover import Consult, HandOver
from server.telephony.held_call import CallRecord, HeldCall
from server.telephony.keypad import Expected, Keypad
from server.telephony.manners import Due, Manners, MannersOptions
from server.telephony.numbers import masked
from server.telephony.phrases import phrases_for
from server.telephony.port import CallControlError, HangUpReason, PhoneLeg
from server.telephony.pressing import press
from server.telephony.recording.call import CallRecording
from server.telephony.recording.voice import HeardVoice
from server.telephony.tools import SEND_DIGITS, phone_instructions, phone_tools, stop_recording_tool
from server.telephony_settings import TelephonySettings

logger = logging.getLogger(__name__)

TICK_S: Final = 0.1
TRANSFER_GRACE_S: Final = 10.0
"""What a transfer gets beyond the time the target may ring."""
MAX_NUMBER_CHARS: Final = 64
_NOT_IN_NUMBERS: Final = re.compile(r"[^\w+@.:-]")
_LOCALE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


class PhoneConversation:
    """A call's conversation; to its leg a ``PhoneListener``, to the agent's tools ``CallControls``."""

    def __init__(self, host: Host, leg: PhoneLeg, caller_identity: Identity, consult: Consult | None = None) -> None:
        """``caller_identity`` is to whom the conversation is attributed. Parameters of the call that are read:
        ``agent_id``, ``locale``, ``greeting``. ``consult`` calls whoever is to take over, where there is a line for it.
        """
        self._host = host
        self._leg = leg
        self._owner = caller_identity
        self._call = HeldCall(host, caller_identity, leg)
        self._consult = consult
        self._settings: TelephonySettings = host.settings.telephony
        self._info = leg.info
        self._locale = _locale_of(leg.info.parameters.get("locale", ""), self._settings.locale)
        self._phrases = phrases_for(self._locale)
        self._recording = CallRecording(host, caller_identity, leg.info.call_id, self._phrases, self._locale)
        self._delivery = PhoneDelivery(HeardVoice(leg, self._recording), self._notice)
        self._keypad = Keypad()
        self._closing = Closing()
        self._pressing = Closing(frozenset({SEND_DIGITS}))
        self._manners = Manners(_manners_options(self._settings), 0)
        self._ear = Ear(self._hear, lambda: 0.0 if leg.in_bites else host.load.rest_s)
        self._hand_over: HandOver | None = None
        self._holding = False
        self._greeting = ""

    # --- life ---

    async def run(self) -> CallRecord:
        """Hold the conversation until it is over and all of it is closed. Never raises for a fault of its own."""
        return await self._call.run(self._locale, self._delivery, self._agent, self._hold)

    def _agent(self, agent: Agent) -> Agent:
        settings, spec = self._settings, agent.spec
        own = self._info.parameters.get("greeting") or settings.greeting or spec.greeting
        self._greeting = own or self._phrases.greeting.format(name=spec.name)
        number = _NOT_IN_NUMBERS.sub("", self._info.caller)[:MAX_NUMBER_CHARS] if settings.caller_id else ""
        told = phone_instructions(number, settings.transfer_targets)
        tools = (*spec.tools, *phone_tools(self, settings.transfer_targets))
        ours = self._info.callee if self._info.direction == "inbound" else self._info.caller
        if self._recording.prepare(ours, spec.agent_id, self._leg.rate_hz):
            tools = (*tools, stop_recording_tool(self._recording.stop))
        return agent.as_spec(replace(spec, instructions=f"{spec.instructions} {told}", tools=tools, greeting=None))

    async def _hold(self, live: LiveSession) -> None:
        async with self._recording.running(live.session_id), self._call.held(live, self):
            while not live.ended.is_set():
                with anyio.move_on_after(TICK_S):
                    await live.ended.wait()
                self._ear.tick()
                if not live.ended.is_set():
                    await self._attend(live)

    # --- what the leg tells ---

    def heard(self, samples: Samples, rate_hz: int) -> None:
        """The next of the caller's voice."""
        if self._live is None:
            return
        if self._hand_over is not None:
            self._hand_over.heard(samples, rate_hz)
            return
        self._recording.heard(samples, rate_hz)
        self._ear.heard(samples, rate_hz)

    def _hear(self, samples: Samples, received: int) -> None:
        """At the rate everything hears with; ``received`` ticks came for it."""
        self._call.heard_ticks += received
        if self._live is not None:
            self._live.session.hear(samples, received)

    def digit(self, digit: str) -> None:
        """A key was pressed: whoever presses keys does not listen."""
        live = self._live
        if live is None:
            return
        self._ear.flush()
        live.touch()
        if self._hand_over is not None:
            self._hand_over.digit(digit)
            return
        if self._recording.key(digit):
            if not self._recording.asking:
                live.session.cancel()  # whoever has answered need not hear the question
            return
        self._manners.answered(self._call.now_ms())
        self._closing.forget()
        self._pressing.forget()
        live.session.cancel()
        self._enter(live, self._keypad.press(digit, self._call.now_ms()))

    def played(self, heard_ms: int) -> None:
        """So much of what was played since the last clear has been heard."""
        place = self._delivery.heard(heard_ms)
        if place is not None and self._live is not None:
            self._live.session.played(*place)

    def held(self, on: bool) -> None:
        """The call was put on hold, or taken back."""
        self._ear.flush()
        self._holding = on
        self._manners.held(on, self._call.now_ms())
        if self._hand_over is not None:
            self._hand_over.held(on)

    def ended(self, reason: HangUpReason) -> None:
        """The call is over."""
        self._end(reason)

    # --- what the agent's tools ask for ---

    def end_after_turn(self) -> None:
        """Hang up when the turn that asked for it has been heard."""
        self._closing.plan("end", self._call.now_ms())

    def transfer_after_turn(self, target: str, summary: str | None) -> None:
        """Transfer the call when the turn that asked for it has been heard."""
        self._closing.plan("transfer", self._call.now_ms(), (target, summary))

    def expect_digits(self, expected: Expected) -> None:
        """The caller is asked for an entry."""
        self._keypad.expect(expected)

    def press_after_turn(self, digits: str) -> None:
        """Press keys when the turn that asked for it has been heard. Raises CallControlError."""
        if not self._leg.presses_keys:
            raise CallControlError("No keys can be pressed on this line: its carrier does not do that for us.")
        self._pressing.plan("press", self._call.now_ms(), (digits, None))

    # --- what the session tells ---

    def _notice(self, event: ServerEvent) -> None:
        now_ms = self._call.now_ms()
        answers = self._recording.notice(event, now_ms)  # about recording: nobody else's to answer
        if answers and self._live is not None:
            self._live.session.cancel()
        match event:
            case SpeechStartedHeard():
                self._manners.user_speaks(True, now_ms)
            case SpeechStoppedHeard() | SpeechDropped():
                self._manners.user_speaks(False, now_ms)
            case TurnStarted():
                self._turn_started(event, now_ms, answers=answers)
            case ToolReturned():
                for plan in (self._closing, self._pressing):
                    plan.tool_returned(event)
            case TurnCompleted():
                self._manners.turn(event.turn_id, False, now_ms)
                for plan in (self._closing, self._pressing):
                    plan.turn_completed(event)
            case _:
                pass

    def _turn_started(self, event: TurnStarted, now_ms: int, *, answers: bool) -> None:
        self._manners.turn(event.turn_id, True, now_ms)
        if event.source in {"speech", "text"}:
            self._manners.user_speaks(False, now_ms)
            if not answers:
                self._manners.answered(now_ms)
        for plan in (self._closing, self._pressing):
            plan.turn_started(event, now_ms)

    # --- what is due ---

    def _end(self, reason: HangUpReason) -> None:
        """The call is over, with all that was said."""
        self._ear.flush()
        self._call.end(reason)

    async def _attend(self, live: LiveSession) -> None:
        now_ms = self._call.now_ms()
        self._enter(live, self._keypad.due(now_ms))
        if (pressed := self._pressing.due(now_ms)) is not None and pressed[1] is not None:
            await self._press(live, pressed[1][0])
        match self._closing.due(now_ms):
            case ("end", _):
                self._end(self._call.reason or "agent")
            case ("transfer", (target, summary)):
                await self._transfer(live, target, summary)
            case _ if not self._recording.attend(now_ms, quiet=self._manners.quiet, say=live.session.announce):
                self._speak_up(live, self._manners.due(now_ms))
            case _:
                pass

    def _speak_up(self, live: LiveSession, due: Due | None) -> None:
        phrases = self._phrases
        match due:
            case "greet":
                live.session.announce(self._greeting)
            case "ask":
                asked = min(self._manners.prompts_asked, len(phrases.still_there))
                live.session.announce(phrases.still_there[asked - 1])
            case "warn":
                live.session.announce(phrases.limit_warning)
            case "silence_goodbye":
                self._closing.plan("end", self._call.now_ms(), said=phrases.silence_goodbye)
                live.session.announce(phrases.silence_goodbye)
            case "limit_goodbye":
                self._call.reason = "limit"
                self._closing.plan("end", self._call.now_ms(), said=phrases.limit_goodbye, firm=True)
                live.session.announce(phrases.limit_goodbye)
            case "limit":
                self._end("limit")
            case None:
                pass

    async def _transfer(self, live: LiveSession, target: str, summary: str | None) -> None:
        try:
            alone = self._leg.can_transfer and (self._leg.says_summary or not summary)
            if self._consult is not None and not alone:
                await self._warm(live, target, summary or "", self._consult)
            else:
                with anyio.fail_after(self._settings.ring_timeout_s + TRANSFER_GRACE_S):
                    await self._leg.transfer(target, summary)
        except (CallControlError, TimeoutError) as error:
            told = {"call_id": self._info.call_id, "target": masked(target), "why": str(error)}
            logger.warning("transfer failed", extra=told)
            live.session.announce(self._phrases.transfer_failed)
        else:
            if not live.ended.is_set():  # else whoever ended it knows why
                self._end("limit" if self._manners.overdue(self._call.now_ms()) else "agent")

    async def _press(self, live: LiveSession, digits: str) -> None:
        try:
            await press(self._leg, digits, live.ended)
        except CallControlError as error:
            logger.warning("keys not pressed", extra={"call_id": self._info.call_id, "why": str(error)})
            self._enter(live, f"[The keys could not be pressed: {error}]")

    async def _warm(self, live: LiveSession, target: str, summary: str, consult: Consult) -> None:
        """The caller waits while whoever takes over is called and told; then both talk. Raises CallControlError."""
        consultation = Consultation(self._host, self._owner, self._locale, summary)
        self._ear.flush()
        self._manners.held(True, self._call.now_ms())
        self._recording.pause(on=True)
        self._hand_over = HandOver(self._leg, live, consultation, consult, self._settings.hold_music)
        self._hand_over.held(self._holding)
        try:
            await self._hand_over.run(target, lambda: self._manners.overdue(self._call.now_ms()))
        finally:
            self._hand_over = None
            self._delivery.cleared()  # the music took its place on the line
            self._recording.pause(on=False)
            self._manners.held(self._holding, self._call.now_ms())

    def _enter(self, live: LiveSession, entry: str | None) -> None:
        if entry is not None:
            live.session.prompt(entry)

    @property
    def _live(self) -> LiveSession | None:
        return self._call.live

    @property
    def record(self) -> CallRecord:
        """What the call has come to so far; once ``run`` has returned, in all."""
        return self._call.record


def _manners_options(settings: TelephonySettings) -> MannersOptions:
    return MannersOptions(
        greet_after_ms=round(settings.greeting_after_s * 1_000),
        silence_ms=round(settings.silence_s * 1_000),
        silence_prompts=settings.silence_prompts,
        max_call_ms=round(settings.max_call_minutes * 60_000),
        warn_before_ms=round(settings.warn_before_s * 1_000),
    )


def _locale_of(asked: str, usual: str) -> str:
    return asked if _LOCALE.fullmatch(asked) else usual
