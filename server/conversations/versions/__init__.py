"""Migrations of the area ``conversations``."""
