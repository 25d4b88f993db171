"""What the vault raises. No message ever holds a key, or any part of one.

VaultError
├── VaultLocked        the master key is missing, unsafe, or not the one these secrets were sealed with
├── VaultUnavailable   the Key Vault or the records do not answer; again later
├── SecretUnreadable   what is stored does not open: tampered with, moved, or of a format not known here
├── SecretGone         the secret was deleted or disabled in the Key Vault
├── KeyUnknown         the tenant has no key of that id
└── TooManyKeys        the tenant has as many as it may have
"""

from __future__ import annotations


class VaultError(Exception):
    """Base of all of them."""


class VaultLocked(VaultError):
    """No master key that opens these secrets."""


class VaultUnavailable(VaultError):
    """Again later. ``retry_after_s`` where the service named a pause."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SecretUnreadable(VaultError):
    """Tampered with, moved to another place, or of a format not known here."""


class SecretGone(VaultError):
    """Deleted or disabled in the Key Vault."""


class KeyUnknown(VaultError):
    """The tenant has no such key."""


class TooManyKeys(VaultError):
    """The tenant has as many as it may have."""
