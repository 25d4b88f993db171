"""Tenants' accounts in use: apart, bounded, counted, released when idle, and renewed when their key changes."""

from __future__ import annotations

import anyio
import pytest

from audio.azure.room import ConnectionRoom
from server.account_shelf import AccountShelf
from server.azure_settings import AzureSettings
from server.contracts.errors import ErrorCode
from server.engine_supply import AccountSupply
from server.errors import Refused
from server.speech_accounts import SpeechAccount


def account(tenant_id: str | None, key: str) -> SpeechAccount:
    return SpeechAccount(tenant_id, AzureSettings(host="ws://127.0.0.1:9", key=key))  # type: ignore[arg-type]


class Vault:
    """Accounts that change while the server runs."""

    def __init__(self, *tenants: str) -> None:
        self.shared: SpeechAccount | None = account(None, "the-servers")
        self.keys = {tenant: f"key-of-{tenant}" for tenant in tenants}
        self.told: tuple[str | None, bool, bool] | None = None

    async def account_of(self, tenant_id: str) -> SpeechAccount | None:
        key = self.keys.get(tenant_id)
        return self.shared if key is None else account(tenant_id, key)

    def seen(self, account: SpeechAccount, *, in_use: bool, rejected: bool) -> None:
        self.told = (account.tenant_id, in_use, rejected)


class Closing(AccountSupply):
    closed = False

    async def aclose(self) -> None:
        self.closed = True
        await super().aclose()


class Shelf:
    def __init__(self, *tenants: str, most: int = 2, idle_s: float = 60.0) -> None:
        self.vault = Vault(*tenants)
        self.now_s = 0.0
        self.made: list[Closing] = []
        self.shelf = AccountShelf(self.vault, self._supply, most=most, idle_s=idle_s, now_s=lambda: self.now_s)

    def _supply(self, wanted: SpeechAccount) -> AccountSupply:
        self.made.append(Closing(wanted, ConnectionRoom(8), 1, 1.0))
        return self.made[-1]

    async def take(self, tenant_id: str) -> AccountSupply:
        taken = await self.shelf.take(tenant_id)
        assert taken is not None
        return taken


async def test_every_tenant_has_its_own_and_others_share_the_servers() -> None:
    shelf = Shelf("a", "b")
    a, b, other = await shelf.take("a"), await shelf.take("b"), await shelf.take("someone")
    assert len({id(a), id(b), id(other)}) == 3
    assert await shelf.take("a") is a
    assert await shelf.take("someone else") is other is shelf.shelf.shared()
    assert [each.account.tenant_id for each in (a, b, other)] == ["a", "b", None]


async def test_where_there_is_no_account_there_is_none() -> None:
    shelf = Shelf("a")
    shelf.vault.shared = None
    assert await shelf.shelf.take("someone") is None
    assert shelf.shelf.shared() is None


async def test_a_new_key_gets_connections_of_its_own_and_the_old_ones_end_when_unused() -> None:
    shelf = Shelf("a")
    old = await shelf.take("a")
    shelf.vault.keys["a"] = "renewed"
    new = await shelf.take("a")
    assert new is not old
    shelf.shelf.give_back(old)
    shelf.now_s = 61.0
    await shelf.shelf.release_idle()
    assert [each.closed for each in shelf.made] == [True, False]


async def test_the_one_idle_for_longest_makes_room_and_whoever_is_in_use_does_not() -> None:
    shelf = Shelf("a", "b", "c", "d")
    a, b = await shelf.take("a"), await shelf.take("b")
    with pytest.raises(Refused) as refused:
        await shelf.take("c")
    assert refused.value.code is ErrorCode.SERVER_OVERLOADED
    assert refused.value.retry_after_s
    await shelf.take("someone without an account")
    shelf.now_s = 1.0
    shelf.shelf.give_back(b)
    shelf.now_s = 2.0
    shelf.shelf.give_back(a)
    await shelf.take("c")
    assert [each.closed for each in shelf.made[:2]] == [False, True]
    assert shelf.shelf.tenants == 2


async def test_what_nobody_uses_is_released_and_the_servers_own_stays() -> None:
    shelf = Shelf("a", idle_s=0.02)
    for tenant in ("a", "someone"):
        shelf.shelf.give_back(await shelf.take(tenant))
    busy = await shelf.take("a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shelf.shelf.tend)
        shelf.now_s = 100.0
        await anyio.sleep(0.05)
        assert not any(each.closed for each in shelf.made)
        shelf.shelf.give_back(busy)
        shelf.now_s = 200.0
        with anyio.fail_after(10):
            while not shelf.made[0].closed:  # noqa: ASYNC110 - the shelf tells nobody
                await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()
    assert shelf.made[0].account.tenant_id == "a"
    assert not shelf.made[1].closed
    await shelf.shelf.aclose()
    assert shelf.made[1].closed


def test_an_account_shows_no_key() -> None:
    assert "canary" not in repr(account("a", "canary"))
