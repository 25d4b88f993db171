"""Logging in: sessions and what ends them, tokens that were tampered with, signing keys that take turns, tries."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from metering.records import RecordConflict
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.guard import LOCAL_USER, Identity
from server.identity.passwords import hash_password
from server.identity.signing_keys import KEPT_MS, ROTATE_MS, SigningKeys
from server.identity.tenant_book import NewTenant
from server.identity.tokens import AUDIENCE, ISSUER, Session, signed, verified
from server.identity.user_book import NewUser, UserChange
from tests.server.identity.identity_desk import NOW_MS, SETTINGS_KEY, Desktop, LosableRecords, Times

PASSWORD = "correct horse battery"
KEPT = hash_password(PASSWORD)
HERE = "192.0.2.1"


@pytest.fixture
async def ada(desktop: Desktop) -> str:
    """A user's id."""
    await desktop.tenant()
    wanted = NewUser("school", "admin", "Ada", "Ada@School.example", KEPT)
    return (await desktop.office.users.create(LOCAL_USER, wanted)).user_id


async def token_of(desktop: Desktop) -> str:
    return (await desktop.office.logins.by_password("ada@school.example", PASSWORD, HERE)).token


async def fits_ada(_: object, password: str, kept: str | None) -> bool:
    return password == PASSWORD and kept is not None


async def refused_login(desktop: Desktop, name: str, password: str, address: str = HERE) -> Refused:
    with pytest.raises(Refused) as caught:
        await desktop.office.logins.by_password(name, password, address)
    return caught.value


async def code_of(desktop: Desktop, token: str) -> ErrorCode:
    with pytest.raises(Refused) as caught:
        await desktop.who(token)
    return caught.value.code


async def test_a_login_is_a_session_of_that_user_for_an_hour(desktop: Desktop, ada: str) -> None:
    session = await desktop.office.logins.by_password(" ADA@school.example ", PASSWORD, HERE)
    assert session.expires_at_ms == NOW_MS + 3_600_000
    who = await desktop.who(session.token)
    assert (who, who.role, who.tenant_type) == (Identity("school", ada), "admin", "school")
    assert await desktop.who(cookie=session.token) == who
    desktop.times.pass_s(3_599)
    await desktop.office.callers.sync()
    assert await desktop.who(session.token) == who
    desktop.times.pass_s(1)
    assert await code_of(desktop, session.token) is ErrorCode.AUTH_INVALID
    assert await desktop.audit.verify() is None
    assert (await desktop.audit.read(tenant_id="school"))[-1].action == "session.begun"


async def test_whatever_is_wrong_the_answer_is_the_same(desktop: Desktop, ada: str) -> None:
    await desktop.office.users.change(LOCAL_USER, ada, UserChange(disabled=True), tenant_id=None)
    disabled = await refused_login(desktop, "ada@school.example", PASSWORD)
    await desktop.office.users.change(LOCAL_USER, ada, UserChange(disabled=False), tenant_id=None)
    wrong = await refused_login(desktop, "ada@school.example", "not her password")
    unknown = await refused_login(desktop, "nobody@school.example", PASSWORD)
    assert {(str(each), each.code) for each in (disabled, wrong, unknown)} == {(str(wrong), ErrorCode.AUTH_INVALID)}


async def test_an_unknown_name_costs_the_same_work(desktop: Desktop, ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    del ada
    derived: list[str] = []

    def derive(password: str, _salt: bytes, *cost: int) -> bytes:
        derived.append(f"{password} {cost}")
        return b""

    monkeypatch.setattr("server.identity.passwords._derive", derive)
    await refused_login(desktop, "ada@school.example", "x")
    await refused_login(desktop, "nobody", "x")
    assert len(derived) == 2
    assert len(set(derived)) == 1


async def test_tries_are_counted_by_account_known_or_not_and_by_address(
    desktop: Desktop, ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del ada
    monkeypatch.setattr("server.identity.logins.Passwords.fits", fits_ada)  # at once: time is another test's matter
    for name in ("ada@school.example", "nobody@school.example"):
        refusals = [await refused_login(desktop, name, "wrong", f"192.0.2.{number}") for number in range(11)]
        assert {each.code for each in refusals[:10]} == {ErrorCode.AUTH_INVALID}
        assert refusals[10].code is ErrorCode.RATE_LIMITED
        assert refusals[10].retry_after_s == pytest.approx(30.0)
    many = [(await refused_login(desktop, f"name-{number}", "wrong", "192.0.2.99")).code for number in range(31)]
    assert (many[0], many[-1]) == (ErrorCode.AUTH_INVALID, ErrorCode.RATE_LIMITED)
    desktop.times.pass_s(31)
    assert (await desktop.office.logins.by_password("ada@school.example", PASSWORD, HERE)).token


async def test_right_passwords_are_no_tries(desktop: Desktop, ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    del ada
    monkeypatch.setattr("server.identity.logins.Passwords.fits", fits_ada)
    for _ in range(12):
        await token_of(desktop)


@pytest.mark.parametrize("how", ["logout", "password", "disabled", "tenant"])
async def test_a_session_ends_at_once_and_elsewhere_with_the_next_look(desktop: Desktop, ada: str, how: str) -> None:
    token = await token_of(desktop)
    elsewhere = Desktop(desktop.records, desktop.times, host="0.0.0.0")
    await elsewhere.office.callers.sync()
    held, there = await desktop.who(token), await elsewhere.who(token)
    match how:
        case "logout":
            await desktop.office.logins.log_out(held)
            await desktop.office.logins.log_out(held)
        case "password":
            change = UserChange(password=hash_password("another password"))
            await desktop.office.users.change(LOCAL_USER, ada, change, tenant_id=None)
        case "disabled":
            await desktop.office.users.change(LOCAL_USER, ada, UserChange(disabled=True), tenant_id=None)
        case _:
            await desktop.office.tenants.change(LOCAL_USER, "school", disabled=True)
    assert await code_of(desktop, token) is ErrorCode.AUTH_INVALID
    await elsewhere.office.callers.sync()
    assert await code_of(elsewhere, token) is ErrorCode.AUTH_INVALID
    for who in (held, there):
        assert who.credential is not None
        assert who.credential.revoked


async def test_another_role_changes_what_a_session_may_and_does_not_end_it(desktop: Desktop, ada: str) -> None:
    token = await token_of(desktop)
    held = await desktop.who(token)
    await desktop.office.users.change(LOCAL_USER, ada, UserChange(role="member"), tenant_id=None)
    assert (await desktop.who(token)).role == "member"
    assert held.credential is not None
    assert not held.credential.revoked


async def test_a_session_by_key_is_that_keys_and_ends_with_it(desktop: Desktop) -> None:
    await desktop.tenant()
    key_id, value = await desktop.key(role="admin", permissions=("talk",), agent_id="default")
    session = await desktop.office.logins.by_key(value, HERE)
    who, by_key = await desktop.who(session.token), await desktop.who(value)
    assert (who, who.permissions, who.agent_id) == (by_key, by_key.permissions, "default")
    with pytest.raises(Refused):
        await desktop.office.logins.by_key(session.token, HERE)
    await desktop.office.keys.revoke(LOCAL_USER, key_id, tenant_id=None)
    assert await code_of(desktop, session.token) is ErrorCode.AUTH_INVALID
    assert who.credential is not None
    assert who.credential.revoked


async def test_a_session_by_key_is_over_when_the_key_expires(desktop: Desktop) -> None:
    await desktop.tenant()
    _, value = await desktop.key(role="admin", expires_at_ms=NOW_MS + 600_000)
    session = await desktop.office.logins.by_key(value, HERE)
    assert (session.expires_at_ms, session.life_s) == (NOW_MS + 600_000, 600)
    desktop.times.pass_s(599)
    await desktop.office.callers.sync()
    held = await desktop.who(session.token)
    desktop.times.pass_s(1)
    assert held.credential is not None
    assert held.credential.ended(desktop.times.monotonic_s())
    assert await code_of(desktop, session.token) is ErrorCode.AUTH_INVALID
    _, long_lived = await desktop.key(role="admin", expires_at_ms=NOW_MS + 86_400_000)
    session = await desktop.office.logins.by_key(long_lived, HERE)
    assert session.expires_at_ms == desktop.times.now_ms + 3_600_000


async def test_a_key_of_the_settings_logs_in_too(records: LosableRecords, times: Times) -> None:
    desktop = Desktop(records, times, api_keys=(SETTINGS_KEY,))
    session = await desktop.office.logins.by_key(SETTINGS_KEY, HERE)
    assert await desktop.who(session.token) == await desktop.who(SETTINGS_KEY)
    without = Desktop(records, times, api_keys=("another-long-random-secret",))
    assert await code_of(without, session.token) is ErrorCode.AUTH_INVALID


# --- tokens ---


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    return json.loads(base64.urlsafe_b64decode(head + "==")), json.loads(base64.urlsafe_b64decode(body + "=="))


def text(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def test_no_other_algorithm_signs_whatever_the_header_says(desktop: Desktop, ada: str) -> None:
    del ada
    token = await token_of(desktop)
    head, body = parts(token)
    known = (await desktop.office.logins._signing_keys.signer()).public  # pyright: ignore
    public = known.public_bytes(Encoding.Raw, PublicFormat.Raw)
    stranger = Ed25519PrivateKey.generate()
    forged = {
        "none": f"{text(head | {'alg': 'none'})}.{text(body)}.",
        "hmac by the public key": jwt.api_jws.encode(
            json.dumps(body).encode(), public, "HS256", headers={"kid": head["kid"]}
        ),
        "another key": jwt.encode(body, stranger, "EdDSA", headers={"kid": head["kid"]}),
        "no kid": jwt.encode(body, stranger, "EdDSA"),
        "an unknown kid": jwt.encode(body, stranger, "EdDSA", headers={"kid": "k_" + "0" * 16}),
        "a kid that is a path": jwt.encode(body, stranger, "EdDSA", headers={"kid": "../../dev/null"}),
        "a kid that is a statement": jwt.encode(body, stranger, "EdDSA", headers={"kid": "k' OR '1'='1"}),
        "another body": f"{text(head)}.{text(body | {'sub': 'usr_other'})}.{token.rpartition('.')[2]}",
    }
    for how, value in forged.items():
        assert await code_of(desktop, value) is ErrorCode.AUTH_INVALID, how


GOOD = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "usr_1",
    "tid": "school",
    "jti": "ses_" + "0" * 16,
    "iat": NOW_MS // 1_000,
    "exp": NOW_MS // 1_000 + 60,
    "gen": 1,
}


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "somebody"},
        {"aud": "something"},
        {"exp": NOW_MS // 1_000},
        {"exp": "9999999999"},
        {"exp": None},
        {"iat": NOW_MS // 1_000 + 120},
        {"jti": "x"},
        {"sub": 7},
        {"gen": None},
        {"gen": True},
        {"gen": 1, "key": "key_1"},
    ],
    ids=str,
)
async def test_a_token_with_wrong_claims_is_none_though_well_signed(desktop: Desktop, change: dict[str, Any]) -> None:
    keys = SigningKeys(desktop.records, desktop.times.epoch_ms, desktop.times.monotonic_s)
    key = await keys.signer()

    def token(claims: dict[str, Any]) -> str:
        given = {name: value for name, value in claims.items() if value is not None}
        payload = json.dumps(given).encode()
        return jwt.api_jws.encode(payload, key.private, "EdDSA", headers={"kid": key.kid})

    assert await verified(token(GOOD), keys, NOW_MS) is not None
    assert await verified(token(GOOD | change), keys, NOW_MS) is None


async def test_signing_keys_take_turns_and_the_old_ones_still_verify(desktop: Desktop) -> None:
    times = desktop.times
    keys = SigningKeys(desktop.records, times.epoch_ms, times.monotonic_s)
    elsewhere = SigningKeys(desktop.records, times.epoch_ms, times.monotonic_s)
    first = await keys.signer()
    assert (await elsewhere.signer()).kid == first.kid
    times.pass_s(ROTATE_MS / 1_000)
    second = await keys.signer()
    assert second.kid != first.kid
    assert await keys.verifier(first.kid) is not None
    assert (await elsewhere.verifier(second.kid)) is not None, "it looks for what it does not know"
    times.pass_s((KEPT_MS - ROTATE_MS) / 1_000)
    assert await keys.verifier(first.kid) is None
    session = Session("ses_" + "0" * 16, "t", "u", times.now_ms, times.now_ms + 1_000, generation=1)
    assert await verified(signed(session, first), keys, times.now_ms) is None


async def test_a_flood_of_unknown_kids_asks_the_database_once_a_second(desktop: Desktop) -> None:
    keys = SigningKeys(desktop.records, desktop.times.epoch_ms, desktop.times.monotonic_s)
    before = desktop.records.asked
    for number in range(50):
        assert await keys.verifier(f"k_{number:016x}") is None
    assert desktop.records.asked == before + 1


async def test_a_signing_key_of_a_clock_that_was_ahead_does_not_sign(desktop: Desktop) -> None:
    desktop.times.now_ms += 365 * 86_400_000
    ahead = await SigningKeys(desktop.records, desktop.times.epoch_ms, desktop.times.monotonic_s).signer()
    desktop.times.now_ms = NOW_MS
    now = await SigningKeys(desktop.records, desktop.times.epoch_ms, desktop.times.monotonic_s).signer()
    assert now.kid != ahead.kid


# --- the books ---


async def test_a_login_name_belongs_to_one_user_whatever_its_case(desktop: Desktop, ada: str) -> None:
    del ada
    with pytest.raises(RecordConflict):
        await desktop.office.users.create(LOCAL_USER, NewUser("school", "member", "Eve", "ADA@school.example", KEPT))


async def test_an_admin_makes_no_operator_and_changes_none(desktop: Desktop) -> None:
    _, value = await desktop.key(tenant_id="default", role="admin")
    admin = await desktop.who(value)
    owner = await desktop.office.users.create(LOCAL_USER, NewUser("default", "owner", "Root", "root", KEPT))
    attempts = (
        lambda: desktop.office.users.create(admin, NewUser("default", "owner", "Me too")),
        lambda: desktop.office.users.change(admin, owner.user_id, UserChange(password=KEPT), tenant_id="default"),
        lambda: desktop.key(admin, tenant_id="default", role="owner"),
        lambda: desktop.key(admin, tenant_id="default", user_id=owner.user_id),
    )
    for attempt in attempts:
        with pytest.raises(Refused) as caught:
            await attempt()
        assert caught.value.code is ErrorCode.AUTH_FORBIDDEN


async def test_a_consumer_is_one_person(desktop: Desktop) -> None:
    await desktop.office.tenants.create(LOCAL_USER, NewTenant("consumer", "Ada", "ada"))
    await desktop.office.users.create(LOCAL_USER, NewUser("ada", "owner", "Ada"))
    with pytest.raises(Refused):
        await desktop.office.users.create(LOCAL_USER, NewUser("ada", "member", "Eve"))


async def test_the_first_key_is_made_once_whoever_asks_first(records: LosableRecords, times: Times) -> None:
    here, there = Desktop(records, times, host="0.0.0.0"), Desktop(records, times, host="0.0.0.0")
    made = [await here.office.first_key(), await there.office.first_key(), await here.office.first_key()]
    assert [each is not None for each in made] == [True, False, False]
    assert made[0] is not None
    assert (await there.who(made[0])).tenant_id == "default"


async def test_everything_done_stands_in_the_audit_log_without_a_secret(desktop: Desktop, ada: str) -> None:
    key_id, value = await desktop.key(user_id=ada)
    await desktop.office.keys.revoke(LOCAL_USER, key_id, tenant_id=None)
    await desktop.office.users.change(LOCAL_USER, ada, UserChange(password=KEPT), tenant_id=None)
    rows = await desktop.audit.read(tenant_id="school")
    actions = [row.action for row in rows]
    assert actions == ["tenant.created", "user.created", "api_key.created", "api_key.revoked", "user.changed"]
    written = json.dumps([row.details for row in rows])
    assert value not in written
    assert value[8:40] not in written
    assert "scrypt" not in written
