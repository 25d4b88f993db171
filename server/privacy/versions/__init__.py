"""Migrations of the area ``privacy``."""
