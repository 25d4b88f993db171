"""Which Azure Speech accounts have engines now: made when a session first needs one, released when nobody does.

Owns one ``AccountSupply`` for each account in use and counts who uses it. The server's own account stays; those of
tenants are bounded in number, the one idle for longest makes room, and any that idles too long is released. No account
ever serves another tenant: an account whose credential changed is another account. Driven by
``server.speech_engines``, whose owner runs ``tend``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import anyio

from server.contracts.errors import ErrorCode
from server.engine_supply import AccountSupply
from server.errors import Refused
from server.speech_accounts import SpeechAccount, SpeechAccounts

logger = logging.getLogger(__name__)

CHECKS_PER_IDLE: Final = 4
LONGEST_PAUSE_S: Final = 2.0
RELEASE_LIMIT_S: Final = 10.0
RETRY_AFTER_S: Final = 30.0


class AccountShelf:
    """See the module. All calls on one event loop."""

    def __init__(
        self,
        accounts: SpeechAccounts,
        supply: Callable[[SpeechAccount], AccountSupply],
        *,
        most: int,
        idle_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``most`` accounts of tenants at a time; one that nobody uses for ``idle_s`` is released."""
        self._accounts = accounts
        self._supply = supply
        self._most = most
        self._idle_s = idle_s
        self._now_s = now_s
        self._held: dict[SpeechAccount, AccountSupply] = {}

    @property
    def tenants(self) -> int:
        """Accounts of tenants that have engines now."""
        return sum(account.tenant_id is not None for account in self._held)

    def shared(self) -> AccountSupply | None:
        """The server's own, which is not counted: it stays."""
        account = self._accounts.shared
        return None if account is None else self._of(account)

    async def has_key(self, tenant_id: str) -> bool:
        """Whether the tenant's account is on a key of its own in the vault. Raises Refused."""
        account = await self._accounts.account_of(tenant_id)
        return account is not None and account.key_id is not None

    async def take(self, tenant_id: str) -> AccountSupply | None:
        """The supply a tenant's session uses until it gives it back; ``None`` where the tenant has no account.

        Raises Refused where all places are taken by tenants that are using theirs.
        """
        account = await self._accounts.account_of(tenant_id)
        if account is None:
            return None
        while account not in self._held and account.tenant_id is not None and self.tenants >= self._most:
            await self._make_room()
        taken = self._of(account)
        taken.users += 1
        return taken

    def give_back(self, supply: AccountSupply) -> None:
        """A session is over."""
        supply.users -= 1
        supply.idle_since_s = self._now_s()

    async def tend(self) -> None:
        """Release what idles, until cancelled."""
        while True:
            await anyio.sleep(min(self._idle_s / CHECKS_PER_IDLE, LONGEST_PAUSE_S))
            for account, supply in self._held.items():
                self._accounts.seen(account, in_use=supply.users > 0 and supply.is_ready, rejected=supply.is_rejected)
            await self.release_idle()

    async def release_idle(self) -> None:
        """Release what nobody has used for too long, and at once what nobody may use any more."""
        now_s = self._now_s()
        for supply in self._idle():
            if supply.account.is_withdrawn or now_s - supply.idle_since_s >= self._idle_s:
                await self._release(supply)

    async def aclose(self) -> None:
        """Release all of them, whoever uses them."""
        for supply in list(self._held.values()):
            await self._release(supply)

    def _of(self, account: SpeechAccount) -> AccountSupply:
        supply = self._held.get(account)
        if supply is None:
            supply = self._held[account] = self._supply(account)
            supply.idle_since_s = self._now_s()
        return supply

    def _idle(self) -> list[AccountSupply]:
        """Tenants' accounts that nobody uses, the one idle for longest first."""
        idle = [each for each in self._held.values() if not each.users and each.account.tenant_id is not None]
        return sorted(idle, key=lambda each: each.idle_since_s)

    async def _make_room(self) -> None:
        idle = self._idle()
        if not idle:
            message = "Too many accounts are in use at once; please try again later."
            raise Refused(ErrorCode.SERVER_OVERLOADED, message, retry_after_s=RETRY_AFTER_S)
        await self._release(idle[0])

    async def _release(self, supply: AccountSupply) -> None:
        if self._held.pop(supply.account, None) is None:
            return
        logger.info("speech account released", extra={"tenant_id": supply.account.tenant_id or "none"})
        with anyio.CancelScope(shield=True), anyio.move_on_after(RELEASE_LIMIT_S):
            await supply.aclose()
