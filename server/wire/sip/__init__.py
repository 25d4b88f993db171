"""SIP without I/O (RFC 3261 and what it needs): messages, transactions, dialogs, SDP, digest. Endpoints drive it."""
