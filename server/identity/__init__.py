"""Identity: tenants, users, API keys and logins, in the records' database; and who it is that calls."""

from server.identity.office import IdentityOffice
from server.identity.presented import Presented
from server.identity.tables import IDENTITY

__all__ = ["IDENTITY", "IdentityOffice", "Presented"]
