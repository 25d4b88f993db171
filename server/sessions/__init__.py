"""Conversations as the edge holds them: numbered, kept for a while, resumable."""
