"""The migrations of the ledger on PostgreSQL, one module each. A released one never changes: add the next."""
