"""Tools an agent may call, run inside the turn."""
