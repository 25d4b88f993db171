"""Digest authentication from both sides: RFC 7616 and, for SIP, RFC 8760 (MD5 and SHA-256).

A challenge costs us nothing to remember: its nonce carries its time, sealed with a secret of this process. Secrets are
passed in and never kept in values that are shown. Time and randomness are passed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from server.wire.sip.errors import SipSyntaxError
from server.wire.sip.text import Parameters, parameter, parse_parameters, quoted

Algorithm = Literal["MD5", "SHA-256"]
Verdict = Literal["good", "stale", "bad", "absent"]

NONCE_LIFE_S: Final = 300.0
_REMEMBERED: Final = 4_096
_HASHES: Final = {"MD5": "md5", "SHA-256": "sha256"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a server."""

    user: str
    password: str = field(repr=False)


def parse_digest(header: str) -> Parameters:
    """The parameters of a ``Digest`` header. Raises SipSyntaxError for any other scheme."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "digest":
        raise SipSyntaxError("this is no Digest")
    return parse_parameters(rest, ",")


@dataclass(frozen=True, slots=True)
class Signed:
    """What is signed: a method, and the URI as it stands in the request."""

    method: str
    uri: str


def answer_challenge(challenges: list[str], credentials: Credentials, signed: Signed, cnonce: str) -> str:
    """The Authorization for the first challenge we can answer (RFC 8760 section 2.4). Raises SipSyntaxError."""
    for challenge in challenges:
        try:
            given = parse_digest(challenge)
        except SipSyntaxError:
            continue
        algorithm = (parameter(given, "algorithm") or "MD5").upper()
        if algorithm in _HASHES:
            return _authorization(given, algorithm, credentials, signed, cnonce)
    raise SipSyntaxError("no challenge that we can answer")


def _authorization(given: Parameters, algorithm: str, credentials: Credentials, signed: Signed, cnonce: str) -> str:
    realm, nonce = parameter(given, "realm") or "", parameter(given, "nonce") or ""
    offered = [word.strip().lower() for word in (parameter(given, "qop") or "").split(",")]
    count = "00000001"  # every nonce is used once
    secret = _hash(algorithm, f"{credentials.user}:{realm}:{credentials.password}")
    qop = "auth" if "auth" in offered else ""
    parts = [
        f"username={quoted(credentials.user)}",
        f"realm={quoted(realm)}",
        f"nonce={quoted(nonce)}",
        f"uri={quoted(signed.uri)}",
        f'response="{_response(algorithm, secret, signed, nonce, (count, cnonce, qop) if qop else None)}"',
        f"algorithm={algorithm}",
    ]
    if qop:
        parts += [f"cnonce={quoted(cnonce)}", f"qop={qop}", f"nc={count}"]
    opaque = parameter(given, "opaque")
    if opaque is not None:
        parts.append(f"opaque={quoted(opaque)}")
    return "Digest " + ", ".join(parts)


class DigestGuard:
    """The server's side: challenges, and whether an answer to one is good.

    ``secret`` seals nonces (32 random bytes of this process). A nonce's counts are remembered once it was used well,
    so that nothing recorded can be sent again; beyond a bound the oldest are forgotten.
    """

    def __init__(self, realm: str, secret: bytes, algorithms: tuple[Algorithm, ...] = ("SHA-256", "MD5")) -> None:
        self.realm = realm
        self._secret = secret
        self._algorithms = algorithms
        self._counts: OrderedDict[str, int] = OrderedDict()

    def challenges(self, now_s: float, *, stale: bool = False) -> list[str]:
        """Values of WWW-Authenticate, best first; each is a header of its own."""
        nonce = self._nonce(now_s)
        suffix = ", stale=true" if stale else ""
        return [
            f'Digest realm={quoted(self.realm)}, nonce="{nonce}", qop="auth", algorithm={algorithm}{suffix}'
            for algorithm in self._algorithms
        ]

    def check(
        self, headers: list[str], signed: Signed, passwords: Mapping[str, str], now_s: float
    ) -> tuple[Verdict, str]:
        """Whether one of these Authorization headers is good, and whose it is."""
        for header in headers:
            try:
                given = parse_digest(header)
            except SipSyntaxError:
                continue
            if parameter(given, "realm") == self.realm:
                return self._verdict(given, signed, passwords, now_s), parameter(given, "username") or ""
        return "absent", ""

    def user_of(self, headers: list[str]) -> str:
        """Whom the Authorization for our realm names, good or not."""
        for header in headers:
            try:
                given = parse_digest(header)
            except SipSyntaxError:
                continue
            if parameter(given, "realm") == self.realm:
                return parameter(given, "username") or ""
        return ""

    def _verdict(self, given: Parameters, signed: Signed, passwords: Mapping[str, str], now_s: float) -> Verdict:
        nonce, user = parameter(given, "nonce") or "", parameter(given, "username") or ""
        algorithm = (parameter(given, "algorithm") or "MD5").upper()
        if algorithm not in self._algorithms or parameter(given, "qop") != "auth":
            return "bad"
        if parameter(given, "uri") != signed.uri:
            return "bad"
        age_s = self._age_s(nonce, now_s)
        if age_s is None:
            return "bad"
        count, cnonce = parameter(given, "nc") or "", parameter(given, "cnonce") or ""
        # Somebody unknown costs as much as somebody known.
        secret = _hash(algorithm, f"{user}:{self.realm}:{passwords.get(user, '')}")
        expected = _response(algorithm, secret, signed, nonce, (count, cnonce, "auth"))
        same = hmac.compare_digest(expected.encode(), (parameter(given, "response") or "").encode("utf-8", "replace"))
        if not same or user not in passwords:
            return "bad"
        return "good" if age_s <= NONCE_LIFE_S and self._first_use(nonce, count) else "stale"

    def _first_use(self, nonce: str, count: str) -> bool:
        try:
            number = int(count, 16)
        except ValueError:
            return False
        if number <= self._counts.get(nonce, 0):
            return False
        self._counts[nonce] = number
        self._counts.move_to_end(nonce)
        while len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)
        return True

    def _nonce(self, now_s: float) -> str:
        time = int(now_s * 1_000).to_bytes(8, "big")
        return base64.urlsafe_b64encode(time + self._seal(time)).decode()

    def _age_s(self, nonce: str, now_s: float) -> float | None:
        """How old a nonce of ours is; None for one that is none."""
        try:
            raw = base64.urlsafe_b64decode(nonce.encode())
        except (binascii.Error, ValueError):
            return None
        if len(raw) != 24 or not hmac.compare_digest(raw[8:], self._seal(raw[:8])):
            return None
        return now_s - int.from_bytes(raw[:8], "big") / 1_000

    def _seal(self, time: bytes) -> bytes:
        return hmac.new(self._secret, time + self.realm.encode(), "sha256").digest()[:16]


def _response(algorithm: str, secret: str, signed: Signed, nonce: str, qop: tuple[str, str, str] | None) -> str:
    middle = nonce if qop is None else ":".join((nonce, *qop))
    return _hash(algorithm, f"{secret}:{middle}:{_hash(algorithm, f'{signed.method}:{signed.uri}')}")


def _hash(algorithm: str, text: str) -> str:
    return hashlib.new(_HASHES[algorithm], text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
