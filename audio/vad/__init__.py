"""Voice activity: where speech begins and pauses."""
