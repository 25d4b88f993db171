"""Session tokens: JSON Web Tokens (RFC 7519), signed with Ed25519, for this server's own use.

The algorithm is fixed, whatever a token's header says (RFC 8725, section 3.1); the header's ``kid`` is a name to look
up and nothing else. Knows no database; who a token speaks for is looked up by ``server.identity.lookup``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import jwt

from server.identity.entries import fresh_id
from server.identity.signing_keys import SigningKey, SigningKeys

ALGORITHM: Final = "EdDSA"
ISSUER: Final = "convergio-voice"
AUDIENCE: Final = "convergio-voice/v1"
SKEW_MS: Final = 60_000
"""How far the clocks of two servers on one database may differ."""
MAX_TOKEN_CHARS: Final = 4_096
_REQUIRED: Final = ["iss", "aud", "sub", "tid", "jti", "iat", "exp"]
_KID: Final = re.compile(r"k_[0-9a-f]{16}")
_JTI: Final = re.compile(r"ses_[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Session:
    """What a token says: who (``user_id`` of ``tenant_id``), until when, and what they logged in with.

    That is a key (``key_id``), or a password (then ``generation`` says which of the user's).
    """

    jti: str
    tenant_id: str
    user_id: str
    issued_at_ms: int
    expires_at_ms: int
    key_id: str | None = None
    generation: int | None = None


def claims_to_be_token(presented: str) -> bool:
    """Whether somebody means this as one of our tokens."""
    return presented.startswith("eyJ") and presented.count(".") == 2 and len(presented) <= MAX_TOKEN_CHARS


def new_session_id() -> str:
    """A ``jti`` that no other session has."""
    return fresh_id("ses")


def signed(session: Session, key: SigningKey) -> str:
    """The token."""
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": session.user_id,
        "tid": session.tenant_id,
        "jti": session.jti,
        "iat": session.issued_at_ms // 1_000,
        "exp": session.expires_at_ms // 1_000,
    }
    if session.key_id is not None:
        claims["key"] = session.key_id
    if session.generation is not None:
        claims["gen"] = session.generation
    return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"kid": key.kid})


async def verified(token: str, keys: SigningKeys, now_ms: int) -> Session | None:
    """What a token says; ``None`` where it is not ours, was changed, or does not hold now. Raises RecordsError."""
    try:
        kid: Any = jwt.get_unverified_header(token).get("kid")
        if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
            return None
        key = await keys.verifier(kid)
        if key is None:
            return None
        # Time is judged below, by the clock that is given.
        options: Any = {"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        claims = jwt.decode(
            token, key.public, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=options
        )
    except jwt.PyJWTError:
        return None
    session = _session(claims)
    if session is None or session.issued_at_ms > now_ms + SKEW_MS or session.expires_at_ms <= now_ms:
        return None
    return session


def _session(claims: dict[str, Any]) -> Session | None:
    texts = [claims[name] for name in ("jti", "tid", "sub")]
    times = [claims[name] for name in ("iat", "exp")]
    key_id, generation = claims.get("key"), claims.get("gen")
    well_typed = (
        all(isinstance(text, str) for text in texts)
        and all(type(moment) is int for moment in times)
        and (key_id is None or isinstance(key_id, str))
        and (generation is None or type(generation) is int)
    )
    if not well_typed or _JTI.fullmatch(texts[0]) is None or (key_id is None) == (generation is None):
        return None
    issued_at_s, expires_at_s = times
    return Session(texts[0], texts[1], texts[2], issued_at_s * 1_000, expires_at_s * 1_000, key_id, generation)
