"""Telephone calls: what is common to all the ways they come."""
