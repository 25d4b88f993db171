"""The conversation core: turn machine, hearing, writer, session."""
