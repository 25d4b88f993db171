"""Passwords: hashed with scrypt (RFC 7914), checked in the same time whether there is such a user or not.

The work is heavy on purpose (16 MiB, a quarter of a second), so it runs in a thread, one at a time, and only so many
may wait for it. Owned by ``server.identity.logins``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from server.contracts.errors import ErrorCode
from server.errors import Refused

MIN_CHARS: Final = 10
MAX_CHARS: Final = 256
MOST_WAITING: Final = 8
_COST_LOG2, _BLOCK, _PARALLEL = 14, 8, 5  # OWASP's Password Storage Cheat Sheet, scrypt
_MEMORY: Final = 64 * 1024 * 1024
_SALT_BYTES: Final = 16
_NOBODYS: Final = f"scrypt${_COST_LOG2}${_BLOCK}${_PARALLEL}${'A' * 22}==${'A' * 43}="
"""What no password fits, and takes as long to find out."""

T = TypeVar("T")


class Passwords:
    """See the module."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(1)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """What to keep of a password. Raises Refused where too many wait."""
        return await self._run(partial(hash_password, password))

    async def fits(self, password: str, kept: str | None) -> bool:
        """Whether it is the one that was kept; against ``None`` never, and no sooner. Raises Refused."""
        right = await self._run(partial(check_password, password, kept or _NOBODYS))
        return right and kept is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise Refused(ErrorCode.SERVER_OVERLOADED, retry_after_s=2.0)
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._waiting -= 1


def hash_password(password: str) -> str:
    """``scrypt$cost$block$parallel$salt$hash``; blocks for a quarter of a second."""
    salt = secrets.token_bytes(_SALT_BYTES)
    derived = _derive(password, salt, _COST_LOG2, _BLOCK, _PARALLEL)
    return f"scrypt${_COST_LOG2}${_BLOCK}${_PARALLEL}${_text(salt)}${_text(derived)}"


def check_password(password: str, kept: str) -> bool:
    """Whether a password is the one that was kept; blocks as ``hash_password`` does."""
    _, cost_log2, block, parallel, salt, derived = kept.split("$")
    found = _derive(password, base64.b64decode(salt), int(cost_log2), int(block), int(parallel))
    return hmac.compare_digest(found, base64.b64decode(derived))


def _derive(password: str, salt: bytes, cost_log2: int, block: int, parallel: int) -> bytes:
    plain = unicodedata.normalize("NFKC", password).encode()
    return hashlib.scrypt(plain, salt=salt, n=2**cost_log2, r=block, p=parallel, maxmem=_MEMORY, dklen=32)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
