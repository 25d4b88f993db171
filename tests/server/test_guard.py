"""Who may speak to the server, judged from headers alone."""

from __future__ import annotations

import pytest

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import LOCAL_USER, check_host, check_origin, identify, presented_keys
from server.settings import load_settings

KEY = "a-long-random-secret"
LOCAL = load_settings()
KEYED = load_settings(host="0.0.0.0", api_keys=(KEY,))


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080", "LOCALHOST"])
def test_loopback_names_are_answered(host: str) -> None:
    check_host(LOCAL, host)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "", None, "[x"]
)
def test_a_name_of_somebody_elses_making_is_refused(host: str | None) -> None:
    with pytest.raises(Refused) as caught:
        check_host(LOCAL, host)
    assert caught.value.code is ErrorCode.AUTH_FORBIDDEN


def test_named_hosts_are_answered_and_with_keys_any_host_is() -> None:
    check_host(load_settings(allowed_hosts=("voice.lan",)), "voice.lan:8080")
    check_host(KEYED, "voice.example.org")


def test_same_origin_configured_origins_and_programs_may_use_the_server() -> None:
    check_origin(LOCAL, None, "localhost:8080")
    check_origin(LOCAL, "http://localhost:8080", "localhost:8080")
    check_origin(load_settings(allowed_origins=("https://app.example",)), "https://app.example", "localhost:8080")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:9999", "null"])
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    with pytest.raises(Refused):
        check_origin(LOCAL, origin, "localhost:8080")


def test_without_keys_everybody_is_the_local_user() -> None:
    assert identify(LOCAL, []) == LOCAL_USER


def test_a_key_is_taken_from_the_header_or_from_a_subprotocol() -> None:
    by_header = identify(KEYED, presented_keys([(b"authorization", f"Bearer {KEY}".encode())]))
    by_subprotocol = identify(KEYED, presented_keys([], ["convergio.v1", f"convergio.key.{KEY}"]))
    assert by_header == by_subprotocol


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong-wrong-wrong", f"Basic {KEY}"])
def test_a_missing_or_wrong_key_is_refused(value: str) -> None:
    with pytest.raises(Refused) as caught:
        identify(KEYED, presented_keys([(b"authorization", value.encode())]))
    assert caught.value.code is ErrorCode.AUTH_INVALID
