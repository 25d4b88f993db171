"""A local stand-in for the Azure Speech service, so that the genuine SDK works without an account and fails on demand.

Speaks Azure Speech's WebSocket protocol over the embedded engines or a script. Imports nothing of the adapters that
talk to Azure, and nothing of the conversation: a mistake in either cannot hide in the other.
"""
