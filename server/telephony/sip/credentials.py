"""Our answer to a server that asks who we are."""

from __future__ import annotations

import re
import secrets

from server.sip_settings import SipTrunk
from server.wire.sip.digest import Credentials, Signed, answer_challenge
from server.wire.sip.message import Pair, Request, Response

CHALLENGES = frozenset({401, 407})
_STALE = re.compile(r'\bstale\s*=\s*"?true', re.IGNORECASE)


def credentials_of(trunk: SipTrunk | None) -> Credentials | None:
    """Ours with a trunk, where we have any."""
    if trunk is None or trunk.user is None or trunk.password is None:
        return None
    return Credentials(trunk.user, trunk.password.get_secret_value())


def is_stale(refusal: Response) -> bool:
    """Whether our answer was right but too late, or used before (RFC 7616 section 3.3)."""
    return any(
        key in ("www-authenticate", "proxy-authenticate") and _STALE.search(value)
        for key, value in refusal.headers.pairs
    )


def authorization(request: Request, refusal: Response, credentials: Credentials) -> Pair:
    """The header that answers the challenge in a 401 or 407. Raises SipSyntaxError for one we cannot answer."""
    proxy = refusal.status == 407
    name = "proxy-authenticate" if proxy else "www-authenticate"
    challenges = [value for key, value in refusal.headers.pairs if key == name]
    signed = Signed(request.method, request.uri)
    value = answer_challenge(challenges, credentials, signed, secrets.token_hex(8))
    return ("proxy-authorization" if proxy else "authorization"), value
