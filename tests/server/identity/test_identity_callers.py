"""Who is calling: keys of the settings and of the database, from memory; revoked, expired, unknown; the database away,
clocks that jump, guesses."""

from __future__ import annotations

import anyio
import pytest

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import LOCAL_USER, Credential, Identity
from server.identity.caller_cache import MOST_KNOWN, MOST_UNKNOWN, CallerCache
from server.identity.callers import GRACE_S
from server.identity.keys import new_key
from server.identity.user_book import NewUser, UserChange
from server.permissions import PERMISSIONS, Permission
from tests.server.identity.identity_desk import SETTINGS_KEY, Desktop, LosableRecords, Times


async def refusal(desktop: Desktop, *values: str, **more: object) -> ErrorCode:
    with pytest.raises(Refused) as caught:
        await desktop.who(*values, **more)
    return caught.value.code


async def test_a_key_opens_for_its_tenant_with_its_roles_permissions(desktop: Desktop) -> None:
    await desktop.tenant()
    key_id, value = await desktop.key(role="admin", agent_id="convergio")
    who = await desktop.who(value)
    assert who == Identity("school", key_id)
    assert (who.role, who.permissions, who.tenant_type) == ("admin", PERMISSIONS["admin"], "school")
    assert (who.agent_id, who.test) == ("convergio", False)


async def test_a_key_for_a_user_is_that_user_whatever_they_have_become(desktop: Desktop) -> None:
    await desktop.tenant()
    user = await desktop.office.users.create(LOCAL_USER, NewUser("school", "admin", "Ada"))
    _, value = await desktop.key(user_id=user.user_id)
    assert (await desktop.who(value)).role == "admin"
    await desktop.office.users.change(LOCAL_USER, user.user_id, UserChange(role="member"), tenant_id=None)
    who = await desktop.who(value)
    assert (who.user_id, who.role, who.permissions) == (user.user_id, "member", PERMISSIONS["member"])


async def test_the_settings_keys_go_on_beside(records: LosableRecords, times: Times) -> None:
    desktop = Desktop(records, times, api_keys=(SETTINGS_KEY,))
    assert (await desktop.who(SETTINGS_KEY)).may(Permission.OPERATE)
    records.away = True
    assert (await desktop.who("wrong-wrong-wrong", SETTINGS_KEY)).tenant_id == "default"
    assert await refusal(desktop, "wrong-wrong-wrong") is ErrorCode.AUTH_INVALID


@pytest.mark.parametrize(
    "values", [(), ("wrong-wrong-wrong",), ("cv_live_short",), (new_key("live"),), ("eyJ.e30.x",)], ids=str
)
async def test_strangers_are_refused(desktop: Desktop, values: tuple[str, ...]) -> None:
    assert await refusal(desktop, *values) is ErrorCode.AUTH_INVALID


async def test_at_this_machine_nobody_is_asked_but_a_wrong_key_is_no_login(
    records: LosableRecords, times: Times
) -> None:
    desktop = Desktop(records, times)
    assert await desktop.who(local=True) == LOCAL_USER
    assert await desktop.who("whatever an SDK sends", local=True) == LOCAL_USER
    assert await desktop.who(cookie="of a session that ended", local=True) == LOCAL_USER
    assert await refusal(desktop, new_key("live"), local=True) is ErrorCode.AUTH_INVALID
    assert await refusal(desktop) is ErrorCode.AUTH_INVALID  # a proxy stands between
    guarded = Desktop(records, times, identity={"require_keys": True})
    assert await refusal(guarded, local=True) is ErrorCode.AUTH_INVALID


async def test_who_is_known_asks_the_database_nothing(desktop: Desktop) -> None:
    await desktop.tenant()
    _, value = await desktop.key()
    await desktop.who(value)
    before = desktop.records.asked
    for _ in range(100):
        await desktop.who(value)
    assert desktop.records.asked == before


async def test_an_unknown_key_is_asked_about_once_until_something_changes(desktop: Desktop) -> None:
    await desktop.tenant()
    unknown = new_key("live")
    assert await refusal(desktop, unknown) is ErrorCode.AUTH_INVALID
    before = desktop.records.asked
    for _ in range(50):
        assert await refusal(desktop, unknown) is ErrorCode.AUTH_INVALID
    assert desktop.records.asked == before


async def test_a_revoked_key_ends_at_once_here_and_wherever_it_is_held(desktop: Desktop) -> None:
    await desktop.tenant()
    key_id, value = await desktop.key()
    held = await desktop.who(value)
    await desktop.office.keys.revoke(LOCAL_USER, key_id, tenant_id=None)
    assert await refusal(desktop, value) is ErrorCode.AUTH_INVALID
    assert held.credential is not None
    assert held.credential.ended(desktop.times.now_s)


async def test_another_process_heeds_a_revocation_with_its_next_look(records: LosableRecords, times: Times) -> None:
    here, there = Desktop(records, times, host="0.0.0.0"), Desktop(records, times, host="0.0.0.0")
    await here.tenant()
    key_id, value = await here.key()
    await there.office.callers.sync()
    held = await there.who(value)
    await here.office.keys.revoke(LOCAL_USER, key_id, tenant_id=None)
    assert await there.who(value) == held
    await there.office.callers.sync()
    assert await refusal(there, value) is ErrorCode.AUTH_INVALID
    assert held.credential is not None
    assert held.credential.revoked


@pytest.mark.parametrize("what", ["user", "tenant"])
async def test_disabling_a_user_or_a_tenant_ends_their_keys_and_enabling_opens_them(
    desktop: Desktop, what: str
) -> None:
    await desktop.tenant()
    user = await desktop.office.users.create(LOCAL_USER, NewUser("school", "member", "Ada"))
    _, value = await desktop.key(user_id=user.user_id)
    held = await desktop.who(value)

    async def disable(*, disabled: bool) -> None:
        if what == "user":
            change = UserChange(disabled=disabled)
            await desktop.office.users.change(LOCAL_USER, user.user_id, change, tenant_id=None)
        else:
            await desktop.office.tenants.change(LOCAL_USER, "school", disabled=disabled)

    await disable(disabled=True)
    assert await refusal(desktop, value) is ErrorCode.AUTH_INVALID
    assert held.credential is not None
    assert held.credential.revoked
    await disable(disabled=False)
    again = await desktop.who(value)
    assert again == held
    assert again.credential is not None
    assert not again.credential.revoked


async def test_a_key_ends_at_its_time(desktop: Desktop) -> None:
    await desktop.tenant()
    _, value = await desktop.key(expires_at_ms=desktop.times.now_ms + 60_000)
    held = await desktop.who(value)
    desktop.times.pass_s(59)
    assert await desktop.who(value) == held
    desktop.times.pass_s(1)
    assert await refusal(desktop, value) is ErrorCode.AUTH_INVALID
    assert held.credential is not None
    assert held.credential.ended(desktop.times.now_s)


@pytest.mark.parametrize("jump_s", [-7 * 86_400, 7 * 86_400])
async def test_a_jump_of_the_clock_neither_prolongs_nor_ends_what_is_known(desktop: Desktop, jump_s: int) -> None:
    await desktop.tenant()
    _, value = await desktop.key(expires_at_ms=desktop.times.now_ms + 60_000)
    held = await desktop.who(value)
    desktop.times.now_ms += jump_s * 1_000
    assert await desktop.who(value) == held
    desktop.times.now_s += 60
    assert await refusal(desktop, value) is ErrorCode.AUTH_INVALID


async def test_while_the_database_is_away_the_known_go_on_for_a_while_and_nobody_else_comes_in(
    desktop: Desktop,
) -> None:
    await desktop.tenant()
    _, known = await desktop.key()
    _, unknown = await desktop.key()
    held = await desktop.who(known)
    desktop.records.away = True
    assert await desktop.who(known) == held
    assert await refusal(desktop, unknown) is ErrorCode.SERVER_OVERLOADED
    asked = desktop.records.asked
    assert await refusal(desktop, unknown) is ErrorCode.SERVER_OVERLOADED
    assert desktop.records.asked == asked, "it is not asked again at once"
    desktop.times.pass_s(GRACE_S + 1)
    assert await refusal(desktop, known) is ErrorCode.SERVER_OVERLOADED
    desktop.records.away = False
    await desktop.office.callers.sync()
    assert await desktop.who(known) == held
    assert (await desktop.who(unknown)).tenant_id == "school"


async def test_a_change_made_while_the_database_was_away_is_heeded_when_it_is_back(
    records: LosableRecords, times: Times
) -> None:
    desktop = Desktop(records, times, host="0.0.0.0")
    await desktop.tenant()
    key_id, value = await desktop.key()
    held = await desktop.who(value)
    elsewhere = Desktop(records, times)
    await elsewhere.office.keys.revoke(LOCAL_USER, key_id, tenant_id=None)
    desktop.times.pass_s(100)
    await desktop.office.callers.sync()
    assert held.credential is not None
    assert held.credential.revoked


async def test_guesses_from_one_address_are_slowed_down_and_others_are_not_harmed(desktop: Desktop) -> None:
    await desktop.tenant()
    _, known = await desktop.key()
    _, not_yet = await desktop.key()
    await desktop.who(known)
    codes = [await refusal(desktop, f"cv_live_{number}", address="192.0.2.1") for number in range(310)]
    assert codes[0] is ErrorCode.AUTH_INVALID
    assert codes[-1] is ErrorCode.RATE_LIMITED
    assert (await desktop.who(known, address="192.0.2.1")).tenant_id == "school"
    assert (await desktop.who(not_yet, address="192.0.2.2")).tenant_id == "school"


async def test_a_crowd_of_new_keys_waits_for_two_questions_at_a_time(desktop: Desktop) -> None:
    await desktop.tenant()
    keys = [(await desktop.key())[1] for _ in range(20)]
    found: list[Identity] = []

    async def ask(value: str) -> None:
        found.append(await desktop.who(value))

    async with anyio.create_task_group() as tasks:
        for value in keys:
            tasks.start_soon(ask, value)
    assert len(set(found)) == 20


async def test_when_a_key_was_used_is_written_later_and_once(desktop: Desktop) -> None:
    await desktop.tenant()
    key_id, value = await desktop.key()
    await desktop.who(value)
    first_ms = desktop.times.now_ms
    desktop.times.pass_s(5)
    await desktop.who(value)
    (entry,) = await desktop.office.keys.list("school")
    assert entry.last_used_at_ms is None
    assert desktop.office.callers.used_at_ms == {key_id: first_ms}
    await desktop.office.keys.used(desktop.office.callers.used_at_ms)
    await desktop.office.keys.used({key_id: first_ms - 1})
    (entry,) = await desktop.office.keys.list("school")
    assert entry.last_used_at_ms == first_ms


async def test_a_tenant_that_is_gone_from_the_settings_has_no_keys_any_more(
    records: LosableRecords, times: Times
) -> None:
    tenants = ({"id": "clinic", "type": "school", "api_keys": ("another-long-random-secret",)},)
    before = Desktop(records, times, host="0.0.0.0", tenants=tenants)
    _, value = await before.key(tenant_id="clinic")
    assert (await before.who(value)).tenant_type == "school"
    assert await refusal(Desktop(records, times, host="0.0.0.0"), value) is ErrorCode.AUTH_INVALID


def test_what_is_remembered_is_bounded() -> None:
    cache = CallerCache()
    cache.number = 0
    for number in range(MOST_KNOWN + MOST_UNKNOWN + 10):
        digest = number.to_bytes(32, "big")
        credential = Credential(str(number), "t", "u")
        cache.keep(digest, Identity("t", "u", credential=credential), 0)
        cache.keep(digest, None, 0)
    assert len(cache) == MOST_KNOWN
    assert cache.is_unknown(digest)
    assert not cache.is_unknown((10).to_bytes(32, "big"))


def test_what_was_found_before_a_change_is_not_kept_after_it() -> None:
    cache = CallerCache()
    who = Identity("t", "u", credential=Credential("key_1", "t", "u"))
    cache.keep(b"early", who, 0)
    assert cache.find(b"early", 0.0) is None, "no change was ever looked for"
    cache.number = 5
    cache.keep(b"late", who, 4)
    cache.keep(b"now", who, 5)
    assert cache.find(b"late", 0.0) is None
    assert cache.find(b"now", 0.0) == who
