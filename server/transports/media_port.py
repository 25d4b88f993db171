"""Audio beside the messages of one connection, as a conversation sees it: a voice to speak with, and an ear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from audio.formats import Samples
from server.sessions.media import VoiceSink


class MediaPort(VoiceSink, Protocol):
    """What carries the audio of one connection."""

    ear: Callable[[Samples], None] | None
    """Who hears: 16 kHz samples, as they come. ``None`` while nobody does."""
