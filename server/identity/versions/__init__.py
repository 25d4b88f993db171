"""The migrations of tenants, users, keys and sessions, in order."""
