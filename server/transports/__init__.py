"""Connections: one reader, one writer each."""
