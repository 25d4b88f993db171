"""TURN credentials, as a TURN server with the same secret checks them."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from server.transports.rtc.turn_credentials import IceServer, ice_servers, turn_credentials


def test_the_password_proves_the_secret_over_the_name_and_the_hour():
    made = turn_credentials("north", "alice", now_s=1_700_000_000.9, lifetime_s=600)
    assert made.username == "1700000600:alice"
    assert made.expires_s == 1_700_000_600
    proof = hmac.new(b"north", b"1700000600:alice", hashlib.sha1).digest()
    assert made.password == base64.b64encode(proof).decode()


def test_the_password_is_what_openssl_makes_of_the_same():
    """``printf 1:user | openssl dgst -sha1 -hmac secret -binary | base64``"""
    assert turn_credentials("secret", "user", 0, 1).password == "2bAU+Ug5rOCG/OSDF/Vya99JHNs="


def test_nobody_needs_a_name():
    assert turn_credentials("north", "", 100, 50).username == "150"


@pytest.mark.parametrize(("secret", "lifetime_s"), [("", 600), ("north", 0), ("north", -1)])
def test_credentials_that_would_prove_nothing_are_refused(secret, lifetime_s):
    with pytest.raises(ValueError, match="secret and a lifetime"):
        turn_credentials(secret, "alice", 0, lifetime_s)


def test_clients_are_told_servers_with_credentials_for_turn_only():
    made = turn_credentials("north", "alice", 0, 60)
    servers = ice_servers(["stun:stun.example.org"], ["turn:turn.example.org?transport=udp"], made)
    assert servers == (
        IceServer(("stun:stun.example.org",)),
        IceServer(("turn:turn.example.org?transport=udp",), made.username, made.password),
    )
    assert ice_servers([], ["turn:turn.example.org"], None) == ()


def test_secrets_are_not_shown():
    made = turn_credentials("north", "alice", 0, 60)
    assert made.password not in repr(made)
    assert made.password not in repr(ice_servers([], ["turn:t"], made))
