"""Whether a request comes from Twilio: the documented signature, checked. Pure.

https://www.twilio.com/docs/usage/security#validating-requests. HMAC-SHA1 under the account's token over the URL as
Twilio called it, followed by the names and values of a form, sorted. Tested against Twilio's own validator.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

HEADER: Final = b"x-twilio-signature"
_PORTS: Final = {"https": 443, "wss": 443, "http": 80, "ws": 80}

Form = Mapping[str, Sequence[str]]


def signature(token: str, url: str, form: Form | None = None) -> str:
    """What Twilio writes into ``X-Twilio-Signature`` for this request."""
    signed = url + "".join(
        f"{name}{value}" for name in sorted(form or {}) for value in sorted(set((form or {}).get(name, ())))
    )
    digest = hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def is_signed(token: str, url: str, presented: str | None, form: Form | None = None) -> bool:
    """Whether this signature belongs to this request; with and without a default port, which Twilio does either way."""
    given = (presented or "").encode()
    matches = [hmac.compare_digest(signature(token, each, form).encode(), given) for each in _forms_of(url)]
    return any(matches)


def _forms_of(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = parts.port or _PORTS.get(parts.scheme, 443)
    yield parts._replace(netloc=host).geturl()
    yield parts._replace(netloc=f"{host}:{port}").geturl()
