"""Envelope encryption: a data key for each secret, and the master key only for data keys. Pure but for randomness.

AES-256-GCM throughout (NIST SP 800-38D), 96-bit random nonces; a data key seals one secret only, so its nonce never
repeats. Associated data binds what is sealed to tenant, key id, version and purpose: a row that is moved does not open.

Format 1 of a sealed value: ``1 || nonce (12) || ciphertext and tag``; the leading byte is authenticated too.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.vault.errors import SecretUnreadable

FORMAT: Final = 1
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_CHECK: Final = b"convergio vault key check"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A key for data keys. ``id`` tells keys apart and is no help in finding one."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.value) != KEY_BYTES:
            raise ValueError("a master key has 32 bytes")

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of a hash over it."""
        return hashlib.sha256(b"convergio master key\0" + self.value).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Place:
    """What a secret is bound to."""

    tenant_id: str
    key_id: str
    version: int

    def bound(self, purpose: str) -> bytes:
        """The associated data of what is sealed for it."""
        parts = ["convergio-vault", FORMAT, purpose, self.tenant_id, self.key_id, self.version]
        return json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret at rest: its data key, wrapped by the master key of this id, and the secret under the data key."""

    master_key_id: str
    wrapped_key: bytes
    body: bytes


def new_master_key() -> MasterKey:
    """A random one."""
    return MasterKey(os.urandom(KEY_BYTES))


def seal(master: MasterKey, secret: str, place: Place) -> Sealed:
    """Encrypt a secret for one place."""
    data_key = os.urandom(KEY_BYTES)
    body = _encrypt(data_key, secret.encode(), place.bound("secret"))
    return Sealed(master.id, _encrypt(master.value, data_key, place.bound("data key")), body)


def unseal(master: MasterKey, sealed: Sealed, place: Place) -> str:
    """The secret. Raises SecretUnreadable."""
    data_key = _decrypt(master.value, sealed.wrapped_key, place.bound("data key"))
    return _decrypt(data_key, sealed.body, place.bound("secret")).decode()


def rewrap(old: MasterKey, new: MasterKey, sealed: Sealed, place: Place) -> Sealed:
    """The same secret under another master key; the secret itself is not decrypted. Raises SecretUnreadable."""
    data_key = _decrypt(old.value, sealed.wrapped_key, place.bound("data key"))
    return Sealed(new.id, _encrypt(new.value, data_key, place.bound("data key")), sealed.body)


def check_value(master: MasterKey) -> bytes:
    """What proves later that a key is the one that was meant."""
    return _encrypt(master.value, _CHECK, b"check:" + master.id.encode())


def fits(master: MasterKey, check: bytes) -> bool:
    """Whether a key made that check value."""
    try:
        return _decrypt(master.value, check, b"check:" + master.id.encode()) == _CHECK
    except SecretUnreadable:
        return False


def fingerprint(tenant_id: str, secret: str) -> str:
    """Tells a tenant's keys apart: 12 hexadecimal digits. The same key of two tenants has two fingerprints."""
    return hashlib.sha256(f"convergio provider key\0{tenant_id}\0{secret}".encode()).hexdigest()[:12]


def _encrypt(key: bytes, plain: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    head = bytes([FORMAT])
    return head + nonce + AESGCM(key).encrypt(nonce, plain, head + bound)


def _decrypt(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    head, nonce, body = sealed[:1], sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    if head != bytes([FORMAT]):
        raise SecretUnreadable("a stored secret has a format this program does not know")
    try:
        return AESGCM(key).decrypt(nonce, body, head + bound)
    except (InvalidTag, ValueError):
        raise SecretUnreadable("a stored secret does not open: it was changed, or is not where it was put") from None
