"""Who may speak to the server, judged from headers alone."""

from __future__ import annotations

import pytest

from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import Credential, Identity, check_host, check_origin, host_names, of_own_origin, presented_keys
from server.settings import load_settings

KEY = "a-long-random-secret"
LOCAL = load_settings()
KEYED = load_settings(host="0.0.0.0", api_keys=(KEY,))


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080", "LOCALHOST"])
def test_loopback_names_are_answered(host: str) -> None:
    check_host(host_names(LOCAL), host)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "", None, "[x"]
)
def test_a_name_of_somebody_elses_making_is_refused(host: str | None) -> None:
    with pytest.raises(Refused) as caught:
        check_host(host_names(LOCAL), host)
    assert caught.value.code is ErrorCode.AUTH_FORBIDDEN


def test_named_hosts_are_answered_and_with_keys_any_host_is() -> None:
    check_host(host_names(load_settings(allowed_hosts=("voice.lan",))), "voice.lan:8080")
    check_host(host_names(KEYED), "voice.example.org")


def test_same_origin_configured_origins_and_programs_may_use_the_server() -> None:
    check_origin(LOCAL, None, "localhost:8080")
    check_origin(LOCAL, "http://localhost:8080", "localhost:8080")
    check_origin(load_settings(allowed_origins=("https://app.example",)), "https://app.example", "localhost:8080")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:9999", "null"])
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    with pytest.raises(Refused):
        check_origin(LOCAL, origin, "localhost:8080")


@pytest.mark.parametrize("value", ["", "Bearer", f"Basic {KEY}"])
def test_what_is_no_key_is_not_taken_for_one(value: str) -> None:
    assert KEY not in presented_keys([(b"authorization", value.encode())])


def test_a_key_is_taken_from_the_header_or_from_a_subprotocol() -> None:
    assert presented_keys([(b"authorization", f"Bearer {KEY}".encode())]) == [KEY]
    assert presented_keys([], ["convergio.v1", f"convergio.key.{KEY}"]) == [KEY]


HOST = (b"host", b"voice.example.org")
OWN = (b"origin", b"https://voice.example.org")


def test_a_cookie_counts_where_the_servers_own_page_asks() -> None:
    assert of_own_origin([HOST, OWN, (b"sec-fetch-site", b"same-origin")], safe=False)
    assert of_own_origin([HOST, OWN], safe=False)
    assert of_own_origin([HOST, (b"sec-fetch-site", b"none")], safe=True)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"origin", b"https://evil.example")],
        [(b"origin", b"null")],
        [(b"origin", b"https://app.voice.example.org"), (b"sec-fetch-site", b"same-site")],
        [OWN, (b"sec-fetch-site", b"cross-site")],
    ],
)
def test_a_cookie_counts_for_nobody_elses_page(headers: list[tuple[bytes, bytes]]) -> None:
    assert not of_own_origin([HOST, *headers], safe=False)


def test_a_credential_ends_at_its_time_or_when_it_is_revoked() -> None:
    credential = Credential("key_1", "school", "usr_1", ends_at_s=10.0)
    assert (credential.ended(9.9), credential.ended(10.0)) == (False, True)
    credential.revoked = True
    assert credential.ended(0.0)


def test_what_somebody_came_with_does_not_make_them_somebody_else() -> None:
    with_key = Identity("school", "usr_1", credential=Credential("key_1", "school", "usr_1"))
    assert with_key == Identity("school", "usr_1")
    assert hash(with_key) == hash(Identity("school", "usr_1"))
