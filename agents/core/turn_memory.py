"""What of a turn's reply becomes part of the conversation: the words the user got, and what is asked of the client.

Owns how the end of a turn is written into the history and into what was said by when. Driven by
``agents.core.turn_run``; knows neither voice nor floor.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.core.answering import Answering
from agents.core.item_ids import call_item_id, reply_item_id
from agents.core.spoken_items import SpokenItems
from agents.core.writer import Heard
from agents.loop.history import History
from agents.models.port import Message


@dataclass(frozen=True, slots=True)
class TurnMemory:
    """Of one turn; ``rate_hz`` is the rate its audio was sent in."""

    turn_id: str
    history: History
    spoken: SpokenItems
    rate_hz: int

    def remember(
        self, text: str, answering: Answering, heard: Heard | None, truncated_ms: int | None, *, interrupted: bool
    ) -> Heard | None:
        """The reply was got as ``text``. Returns what was ``heard``, less what the client says it did not play."""
        item_id, verdict = reply_item_id(self.turn_id), answering.verdict
        if verdict is not None and verdict.stage == "prompt":
            self.history.withhold_user()  # sent again with every later question, it would be refused with every one
        # A refusal is nobody's to shorten: what came before it would be put in its place.
        self.history.assistant_heard(text, interrupted=interrupted, item_id="" if verdict else item_id)
        if heard is not None:
            self.spoken.keep(item_id, heard.ledger, self.rate_hz)
        for number, request in enumerate(answering.handed_over):
            self.history.add(Message("assistant", "", tool_requests=(request,)), call_item_id(self.turn_id, number))
        if truncated_ms is not None and heard is not None:
            heard = heard.until(truncated_ms, self.rate_hz)
            self.history.shorten(item_id, heard.text)
        return heard
