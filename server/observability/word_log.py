"""What is said in a conversation, in the log: only for operators who turned transcripts on, never of a school.

A pure fold of the events that a client is told, like the notes that are kept, which are another thing and have rules of
their own. Driven by ``server.observability.session_watch``.
"""

from __future__ import annotations

import logging

from agents.events import ServerEvent, TranscriptUpdated, TurnCompleted, TurnStarted
from server.observability.logs import SAID_PREFIX

logger = logging.getLogger(__name__)

_SAID = SAID_PREFIX + "words"


class WordLog:
    """The words of one conversation."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id

    def observe(self, event: ServerEvent) -> None:
        """An event of the conversation, in order."""
        match event:
            case TranscriptUpdated(final=True):
                self._tell("user said", event.turn_id, event.text)
            case TurnStarted(source="text"):
                self._tell("user wrote", event.turn_id, event.text)
            case TurnCompleted():
                self._tell("agent said", event.turn_id, event.text)
            case _:
                pass

    def _tell(self, message: str, turn_id: str | None, words: str) -> None:
        if words:
            logger.info(message, extra={"session_id": self._session_id, "turn_id": turn_id, _SAID: words})
