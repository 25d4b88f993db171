"""Twilio: what it signs, what it asks, and its REST API."""
