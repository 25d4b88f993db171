"""The parts without a database: what keys look like, how often one may try, passwords, and who may hand out what."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Identity
from server.identity.attempts import MOST_REMEMBERED, Attempts, address_name
from server.identity.authority import key_permissions, require_no_more, role_permissions
from server.identity.entries import narrowed
from server.identity.keys import ALPHABET, digest_of, hint_of, is_well_formed, new_key
from server.identity.passwords import check_password, hash_password
from server.permissions import OPERATOR, PERMISSIONS, Permission


def test_a_key_has_256_random_bits_and_names_its_kind() -> None:
    keys = {new_key("live") for _ in range(200)} | {new_key("test")}
    assert len(keys) == 201
    assert all(re.fullmatch(r"cv_(live|test)_[0-9A-Za-z]{49}", key) for key in keys)
    assert len(ALPHABET) ** 43 > 2**192


@given(st.integers(8, 56), st.sampled_from(ALPHABET))
def test_a_mistyped_key_is_told_without_a_database(place: int, letter: str) -> None:
    key = new_key("live")
    mistyped = key[:place] + letter + key[place + 1 :]
    assert is_well_formed(mistyped) == (mistyped == key)


def test_what_is_kept_or_shown_of_a_key_is_not_the_key() -> None:
    key = new_key("test")
    assert (len(digest_of(key)), hint_of(key)) == (64, f"cv_test_…{key[-4:]}")
    assert key not in digest_of(key) + hint_of(key)


def test_tries_come_back_with_time_and_not_before() -> None:
    attempts = Attempts(burst=3, refill_s=10.0)
    assert [attempts.take("ada", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 10.0]
    assert attempts.take("ben", 0.0) == 0.0
    assert attempts.take("ada", 9.0) == pytest.approx(1.0)
    assert attempts.take("ada", 10.0) == 0.0
    assert attempts.take("ada", 10.0) > 0.0


def test_a_good_try_does_not_count() -> None:
    attempts = Attempts(burst=1, refill_s=10.0)
    for _ in range(5):
        assert attempts.take("ada", 0.0) == 0.0
        attempts.give_back("ada")


def test_only_so_many_names_are_remembered() -> None:
    attempts = Attempts(burst=1, refill_s=10.0)
    for number in range(MOST_REMEMBERED + 50):
        attempts.take(str(number), 0.0)
    assert len(attempts) == MOST_REMEMBERED


def test_an_ipv6_network_is_one_address() -> None:
    assert address_name("2001:db8::1") == address_name("2001:db8::ffff")
    assert address_name("2001:db8:0:1::1") != address_name("2001:db8::1")
    assert address_name("::ffff:192.0.2.1") == address_name("192.0.2.1")
    assert address_name("no address " * 20) == ("no address " * 20)[:64]


def test_a_password_fits_itself_alone_however_it_was_typed() -> None:
    kept = hash_password("Füße im Wasser")
    assert check_password("Fu\u0308ße im Wasser", kept)
    assert not check_password("füße im wasser", kept)
    assert "Wasser" not in kept
    assert kept != hash_password("Füße im Wasser")


def test_owners_of_the_servers_own_tenant_operate_it_and_nobody_else_does() -> None:
    assert role_permissions("default", "owner") == OPERATOR
    assert all(
        Permission.OPERATE not in role_permissions(tenant, role)
        for tenant in ("default", "school")
        for role in PERMISSIONS
        if (tenant, role) != ("default", "owner")
    )


def test_a_key_is_narrowed_and_a_test_key_spends_nothing() -> None:
    assert key_permissions("school", "admin", ["talk", "audit.read", "no.such"], "live") == {
        Permission.TALK,
        Permission.AUDIT_READ,
    }
    spending = {Permission.CALLS, Permission.IDENTITY_WRITE, Permission.PROVIDER_KEYS, Permission.BUDGETS_WRITE}
    assert not spending & key_permissions("default", "owner", None, "test")
    assert narrowed('["talk", "of a newer version"]') == (Permission.TALK,)


def test_nobody_hands_out_what_they_do_not_have() -> None:
    narrow = Identity("school", "u", "admin", frozenset({Permission.IDENTITY_WRITE, Permission.TALK}), agent_id="a")
    require_no_more(narrow, frozenset({Permission.TALK}), "a")
    for permissions, agent in ((PERMISSIONS["member"], "a"), (frozenset({Permission.TALK}), None)):
        with pytest.raises(Refused) as caught:
            require_no_more(narrow, permissions, agent)
        assert caught.value.code is ErrorCode.AUTH_FORBIDDEN
