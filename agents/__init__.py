"""The conversation: events, the pure turn machine, session, turn, agent loop, models and tools.

May import ``audio`` and ``metering``; knows nothing of sockets, HTTP or wire formats.
"""
