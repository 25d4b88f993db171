"""How a conversation begins that costs something: its lane, its purse, and the engines it works with.

Driven by the host and by chats over HTTP. Knows no transport.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agents.core.options import Engines
from metering.budgets.limits import Whose
from metering.recorder import Recorder
from metering.usage import Mode
from server.budgets.lanes import brought, granted, lane_of, own_keys
from server.budgets.prices import Chain
from server.budgets.purse import PurseOf, SessionPurse
from server.budgets.service import Budgets
from server.engine_source import Lease
from server.guard import Identity
from server.privacy.protection import protection_of
from server.settings import Settings


@dataclass(frozen=True, slots=True)
class Wish:
    """What the conversation is: its kind, the lane its client asks for, its language."""

    kind: Literal["voice", "chat", "realtime", "phone"] = "voice"
    mode: Mode | None = None
    locale: str = "en-US"
    lasts: bool = True

    @property
    def speech(self) -> bool:
        """Whether anything is heard or spoken."""
        return self.kind != "chat"


@dataclass(frozen=True, slots=True)
class Opened:
    """``engines`` ask the ``purse``, which also records; ``mode`` is the lane of all its usage."""

    mode: Mode
    engines: Engines
    purse: SessionPurse


def open_purse(
    settings: Settings, budgets: Budgets, caller: Identity, lease: Lease, recorder: Recorder, wish: Wish
) -> Opened:
    """The purse of a conversation that begins. Raises Refused where it cannot have the lane it asks for."""
    engines = lease.engines
    thrifty = budgets.prices.thrifty(engines, budgets.epoch_ms())
    if wish.mode == "embedded" and thrifty is not None:
        engines, thrifty = thrifty, None
    chain = Chain.of(engines, speech=wish.speech)
    lane = lane_of(settings, caller.tenant_id, chain, own_keys(settings, caller.tenant_id) | brought(lease))
    mode = granted(wish.mode, lane, caller.tenant_id, chain)
    cheapest = chain if thrifty is None else Chain.of(thrifty, speech=wish.speech)
    whose = Whose(caller.tenant_id, caller.user_id)
    may_ask = not wish.speech or protection_of(caller.tenant_type).cost_spoken
    owner = PurseOf(whose, mode, chain, cheapest, wish.locale, wish.lasts, may_ask)
    purse = SessionPurse(budgets, owner, recorder)
    return Opened(mode, replace(engines, spending=purse, thrifty=thrifty), purse)
