"""The vault: tenants' own keys at providers, encrypted, used for them and nobody else, and never told again."""

from server.vault.tables import VAULT

__all__ = ["VAULT"]
