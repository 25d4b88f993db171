"""One session's purse: reserves ahead, admits turns, warns and asks, and settles by the session's own usage events.

Implements the conversation's port (``agents.core.spending``) and stands before the usage recorder, so that whatever is
recorded settles what was reserved for it. What the next turn and the speech before it may take is reserved while nobody
waits: at the session's start and whenever a turn has taken what there was. Owned by whoever hosts the session, who
closes it afterwards. Knows no engine and no transport.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import anyio

from agents.core.spending import Admission, Denied, Most
from agents.events import BudgetConsent, BudgetWarned, ServerEvent
from metering.budgets.desk import Ticket
from metering.budgets.limits import Amounts, Limit, Need, State, Whose, state, used_percent
from metering.budgets.store import BudgetStoreAway, Shortage
from metering.recorder import Recorder
from metering.records import RecordsError
from metering.usage import Mode, UsageEvent
from server.budget_settings import MEASURE_WORDS, PERIOD_WORDS
from server.budgets.prices import Chain, NoPrice
from server.budgets.rules import Rules
from server.budgets.sentences import answer_of, words_for
from server.budgets.service import Budgets
from server.contracts.errors import ErrorCode

logger = logging.getLogger(__name__)

ADMIT_LIMIT_S: Final = 0.5
"""What asking the accounts may take of a turn's time; nearly always it takes none."""
RETRY_S: Final = 2.0
"""How soon speech that could not be afforded is asked for again."""
SAMPLES_PER_MS: Final = 16
USUAL: Final = Most(2_000, 256, 1)
"""What is reserved ahead for a turn nothing is known of."""


@dataclass(frozen=True, slots=True)
class PurseOf:
    """Whose purse: who pays, in which lane, with which engines and their cheapest; in which language they are told."""

    whose: Whose
    mode: Mode
    chain: Chain
    cheapest: Chain
    locale: str = "en-US"
    lasts: bool = True
    """Whether another turn may follow."""
    may_ask: bool = True
    """Whether the user may be asked about cost; else the session goes on as if the tenant's policy had consented."""


class SessionPurse:
    """See the module. All calls on the event loop."""

    def __init__(self, budgets: Budgets, owner: PurseOf, recorder: Recorder) -> None:
        self._budgets = budgets
        self._owner = owner
        self._recorder = recorder
        self._words = words_for(owner.locale)
        self._tell: Callable[[ServerEvent], None] = _untold
        self._rules: Rules | None = None
        self._is_limited = True  # until it is known
        self._ahead: list[Ticket] = []
        self._ahead_audio_ms = 0
        self._turns: dict[str, list[Ticket]] = {}
        self._discarded: list[Ticket] = []
        self._samples = 0
        self._usual = USUAL
        self._last: list[Need] = []
        self._thrifty = False
        self._denied: Denied | None = None
        self._asked_at_s = -math.inf
        self._asking = False
        self._warned: set[str] = set()
        self._asks: str | None = None
        self._asked_by = ""
        self._consented = False
        self._closed = False

    # --- for whoever hosts the session ---

    def attach(self, tell: Callable[[ServerEvent], None]) -> None:
        """From now on the client is told of warnings in this way."""
        self._tell = tell
        self._warn()

    async def prepare(self) -> None:
        """Reserve for the first turn, within a limit: what is known afterwards is what the session begins with."""
        await self._reserve_ahead()

    def consent(self, *, given: bool = True) -> None:
        """The client says whether to go on beyond a warning."""
        if given and not self._consented:
            self._consented = True
            self._tell_warning("given")
        elif not given:
            self._consented = False
        self._asks = None

    def close(self) -> None:
        """The session is over: what it had reserved and not used is free."""
        self._closed = True
        for ticket in (*self._ahead, *chain.from_iterable(self._turns.values()), *self._discarded):
            self._budgets.desk.give_back(ticket)
        self._ahead.clear()
        self._turns.clear()
        self._discarded.clear()

    # --- the recorder's port ---

    def open_turn(self, provisional: UsageEvent) -> None:
        self._recorder.open_turn(provisional)

    def record(self, event: UsageEvent) -> asyncio.Future[None]:
        future = self._recorder.record(event)
        future.add_done_callback(lambda _: self._settle(event))
        return future

    # --- the conversation's port ---

    @property
    def thrifty(self) -> bool:
        return self._thrifty

    @property
    def denied(self) -> Denied | None:
        return self._denied

    def affords(self, samples: int) -> bool:
        now_s = asyncio.get_running_loop().time()
        if self._denied is not None and now_s - self._asked_at_s >= RETRY_S:
            if self._denied.code == ErrorCode.RATE_LIMITED.value:
                self._denied = None  # what is reserved is still there; whether more may come now is the window's to say
            else:
                self._reserve_soon()
        if self._denied is not None:
            return False
        whose = self._owner.whose
        bursts, seconds = self._budgets.bursts, 1 + samples // 16_000
        if self._samples // 16_000 != (self._samples + samples) // 16_000:
            if (wait_s := bursts.wait_s("audio_s", whose.tenant_id, whose.user_id, seconds)) > 0:
                self._denied, self._asked_at_s = self._burst(wait_s), now_s
                return False
            bursts.count("audio_s", whose.tenant_id, whose.user_id, seconds)
        self._samples += samples
        if self._samples > self._ahead_audio_ms * SAMPLES_PER_MS // 2 and self._is_limited:
            self._reserve_soon()
        enough = self._samples <= self._ahead_audio_ms * SAMPLES_PER_MS or not self._is_limited
        return enough or self._asking or self._owner.mode != "managed"

    async def admit(self, turn_id: str, text: str, most: Most) -> Admission:
        recited, whose = not most.input_tokens, self._owner.whose
        if not recited:
            wait_s = self._budgets.bursts.wait_s("turns", whose.tenant_id, whose.user_id)
            if wait_s > 0:
                return Admission(self._burst(wait_s))
            self._budgets.bursts.count("turns", whose.tenant_id, whose.user_id)
            self._usual = most
        denied = await self._take(turn_id, most)
        self._warn()
        if denied is not None:
            return Admission(denied)
        asks = None if recited else self._ask(turn_id, text)
        self._reserve_soon()
        return Admission(asks=asks)

    def dropped(self, turn_id: str) -> None:
        self._discarded += self._turns.pop(turn_id, [])
        if self._asked_by == turn_id:  # nobody heard the question
            self._asks = None

    # --- reserving ---

    async def _take(self, turn_id: str, most: Most) -> Denied | None:
        """Reserve what a turn may take, beside what was reserved ahead for it where that is not enough."""
        try:
            with anyio.fail_after(ADMIT_LIMIT_S):
                rules = await self._read_rules()
                needs = self._needs(rules, most, 0)
                found = Ticket({}) if self._covers(needs) else await self._budgets.desk.reserve(needs)
        except NoPrice as error:
            return self._unpriced(error)
        except (BudgetStoreAway, RecordsError, TimeoutError) as error:
            return self._away(error)
        if isinstance(found, Shortage):
            self._thrifty = True  # what is dear cannot be had any more: the cheapest perhaps can, from the next turn on
            return self._short(needs, found)
        self._turns.setdefault(turn_id, []).append(found)
        if most.input_tokens:
            self._turns[turn_id] += self._ahead
            self._ahead, self._ahead_audio_ms, self._samples = [], 0, 0
        return None

    def _covers(self, needs: Sequence[Need]) -> bool:
        """Whether what is reserved ahead is enough."""
        reserved: dict[str, int] = {}
        for ticket in self._ahead:
            for name, amount in ticket.amounts.items():
                reserved[name] = reserved.get(name, 0) + amount
        return all(reserved.get(need.account, 0) >= need.amount and self._fits(need) for need in needs)

    def _fits(self, need: Need) -> bool:
        """Whether it is within its cap, which may have been lowered since it was reserved."""
        known = self._budgets.desk.known(need.account)
        return known is None or known.used + need.amount <= need.cap or not need.amount

    def _needs(self, rules: Rules, most: Most, audio_ms: int) -> list[Need]:
        """Raises NoPrice where money is limited and not all of it is priced."""
        owner, now_ms = self._owner, self._budgets.epoch_ms()
        limits = rules.limits(owner.whose.user_id)
        priced = owner.mode == "managed" and any(limit.measure == "money" for limit in limits)
        chain = owner.cheapest if self._thrifty else owner.chain
        amounts: Amounts = self._budgets.prices.most(chain, most, audio_ms, now_ms, priced=priced)
        self._last = self._budgets.needs(rules, owner.whose, owner.mode, amounts)
        return self._last

    def _reserve_soon(self) -> None:
        if not self._asking and not self._closed and self._owner.lasts:
            self._asking = self._budgets.start_soon(self._reserve_ahead)

    async def _reserve_ahead(self) -> None:
        """Reserve for the next turn and the speech before it; what cannot be had denies speech from now on."""
        self._asking, denied = True, None
        self._asked_at_s = asyncio.get_running_loop().time()
        try:
            with anyio.fail_after(ADMIT_LIMIT_S * 4):
                rules = await self._read_rules()
                found = await self._reserved(rules)
                if isinstance(found, Shortage) and not self._thrifty:
                    self._thrifty = True
                    found = await self._reserved(rules)
            if isinstance(found, Shortage):
                denied = self._short(self._last, found)
            elif self._closed:
                self._budgets.desk.give_back(found)
            else:
                self._ahead.append(found)
                self._ahead_audio_ms += self._audio_ms
        except NoPrice as error:
            denied = self._unpriced(error)
        except (BudgetStoreAway, RecordsError, TimeoutError) as error:
            denied = self._away(error)
        finally:
            self._asking = False
        self._denied = denied
        self._warn()

    async def _reserved(self, rules: Rules) -> Ticket | Shortage:
        """What the next turn may take, by the engines it is to have. Raises NoPrice, BudgetStoreAway."""
        needs = self._needs(rules, self._usual, self._audio_ms)
        await self._budgets.desk.learn([need.account for need in needs])
        if not self._thrifty and any(self._state_of(need) in {"thrifty", "blocked"} for need in needs):
            self._thrifty = True
            needs = self._needs(rules, self._usual, self._audio_ms)
        return await self._budgets.desk.reserve(needs)

    @property
    def _audio_ms(self) -> int:
        return self._budgets.settings.turn_audio_s * 1_000 if self._owner.chain.stt else 0

    def _settle(self, event: UsageEvent) -> None:
        """What was used is counted, and what was reserved for it is free."""
        tickets = self._turns.pop(event.request_id, [])
        if not tickets:  # speech that no turn answered
            tickets, self._ahead, self._ahead_audio_ms, self._samples = self._ahead, [], 0, 0
        if self._rules is not None:
            self._budgets.desk.settle(None, self._budgets.entry(event, self._rules))
        for ticket in (*tickets, *self._discarded):
            self._budgets.desk.give_back(ticket)
        self._discarded.clear()
        if not self._ahead:
            self._reserve_soon()

    # --- standing ---

    async def _read_rules(self) -> Rules:
        """What holds now. Raises RecordsError."""
        rules = await self._budgets.rules.of(self._owner.whose.tenant_id)
        if rules is not self._rules:
            self._rules, self._is_limited = rules, bool(rules.limits(self._owner.whose.user_id))
        return rules

    def _state_of(self, need: Need) -> State:
        known = self._budgets.desk.known(need.account)
        if known is None:
            return "free"
        return state(known.used, need.limit.amount, need.ends_at_percent)

    # --- telling ---

    def _warn(self) -> None:
        """Tell of every limit that is nearly used up, once in its window."""
        if self._tell is _untold or self._rules is None:
            return
        for need in self._last:
            if need.account in self._warned or self._state_of(need) == "free":
                continue
            self._warned.add(need.account)
            self._consented = False  # another limit's, or another window's: it is a new question
            self._tell(self._warning(need, "needed" if self._asks_first else "policy"))

    def _warning(self, need: Need, consent: BudgetConsent) -> BudgetWarned:
        known = self._budgets.desk.known(need.account)
        percent = used_percent(0 if known is None else known.used, need.limit.amount)
        message = self._words.used.format(percent=percent)
        if consent == "needed":
            message = f"{message} {self._words.ask}"
        return BudgetWarned(need.limit.scope, PERIOD_WORDS[need.limit.period], percent, message, consent)

    def _tell_warning(self, consent: BudgetConsent) -> None:
        worst = self._worst()
        if worst is not None:
            self._tell(self._warning(worst, consent))

    def _worst(self) -> Need | None:
        """The limit that is used up most, of those that are nearly."""
        near = [need for need in self._last if self._state_of(need) != "free"]
        return max(near, key=self._percent, default=None)

    def _percent(self, need: Need) -> int:
        known = self._budgets.desk.known(need.account)
        return used_percent(0 if known is None else known.used, need.limit.amount)

    @property
    def _asks_first(self) -> bool:
        return self._owner.may_ask and self._rules is not None and self._rules.consent == "ask"

    def _ask(self, turn_id: str, text: str) -> str | None:
        """What is said instead of an answer, while the user has not consented to going on."""
        worst = self._worst()
        if worst is None or self._consented or not self._asks_first:
            return None
        if self._asks is not None:
            answered = answer_of(text, self._words)
            if answered:
                self.consent()
                return None
            if answered is False:
                return self._words.declined
        self._asked_by, self._asks = turn_id, self._warning(worst, "needed").message
        return self._asks

    # --- refusing ---

    def _short(self, needs: Sequence[Need], short: Shortage) -> Denied:
        need = next(need for need in needs if need.account == short.account)
        limit: Limit = need.limit
        words = {"period": PERIOD_WORDS[limit.period], "measure": MEASURE_WORDS[limit.measure]}
        details = {"scope": limit.scope, **words}
        if limit.measure == "money":
            return self._deny(ErrorCode.BILLING_PAYMENT_REQUIRED, self._words.spent, details)
        return self._deny(ErrorCode.QUOTA_EXCEEDED, self._words.quota, details)

    def _unpriced(self, error: NoPrice) -> Denied:
        logger.warning("the managed lane is closed: no price", extra={"reason": str(error)})
        return self._deny(ErrorCode.BILLING_PAYMENT_REQUIRED, self._words.closed, {"reason": str(error)})

    def _away(self, error: Exception) -> Denied | None:
        """The accounts cannot be asked: closed or open, as the operator has it."""
        settings, managed = self._budgets.settings, self._owner.mode == "managed"
        rule = settings.managed_when_away if managed else settings.byok_when_away
        logger.warning(
            "budgets cannot be checked", extra={"lane": self._owner.mode, "turns": rule, "reason": str(error)}
        )
        if rule == "open":
            return None
        return replace(
            self._deny(ErrorCode.QUOTA_EXCEEDED, self._words.away, {"reason": "unavailable"}), retryable=True
        )

    def _burst(self, wait_s: float) -> Denied:
        details = {"retry_after_s": math.ceil(wait_s)}
        return replace(self._deny(ErrorCode.RATE_LIMITED, self._words.burst, details), retryable=True)

    def _deny(self, code: ErrorCode, message: str, details: Mapping[str, object]) -> Denied:
        engines = self._owner.cheapest if self._thrifty else self._owner.chain
        audible = self._owner.mode != "managed" or self._budgets.prices.speaks_free(engines, self._budgets.epoch_ms())
        return Denied(code.value, message, False, details, audible)


def _untold(_: ServerEvent) -> None:
    """Nobody listens yet."""
