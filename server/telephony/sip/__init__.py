"""Telephone calls by SIP: ``endpoint`` is all the rest of the server needs."""
