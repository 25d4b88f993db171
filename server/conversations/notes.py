"""What was said in one conversation, taken from the events its client is told: who, when, and as it was heard.

A pure fold: events in, entries out, each under the id of the conversation's own item, so that what is corrected,
interrupted, taken back or shortened later takes the place of what was noted before. Drafts that came to nothing are no
events, so they are not noted. Driven by ``server.observability.session_watch`` (every event, in order); knows neither
database nor client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from agents.core.item_ids import reply_item_id, spoken_item_id, typed_item_id
from agents.events import (
    AudioOut,
    Caption,
    ContentFiltered,
    Interrupted,
    RecordingTranscribed,
    ReplyText,
    ServerEvent,
    TranscriptUpdated,
    TurnCompleted,
    TurnStarted,
)
from server.conversations.heard import cut_to_text, until_ms
from server.conversations.tables import Cue, Entry, Speaker

MOST_TEXT: Final = 32_000
"""Characters of one entry; what is longer is cut, with a mark."""
MOST_ENTRIES: Final = 4_000
"""Of one conversation; what comes later is counted as lost."""


class Desk(Protocol):
    """Where notes of one conversation go. Calls cost nothing to speak of and never wait."""

    def write(self, entry: Entry) -> None:
        """This is what it says now."""
        ...

    def strike(self, item_id: str) -> None:
        """It was not said after all."""
        ...

    def lose(self) -> None:
        """Something was said that cannot be kept."""
        ...

    def end(self, at_ms: int) -> None:
        """The conversation is over."""
        ...


@dataclass(slots=True)
class _Turn:
    """A reply under way; times are epoch milliseconds, audio in milliseconds of the turn's."""

    turn_id: str
    asked: str
    began_at_ms: int
    written: list[str] = field(default_factory=list[str])
    cues: list[Cue] = field(default_factory=list[Cue])
    audio_at_ms: int | None = None
    sent_ms: int = 0
    heard: str | None = None
    heard_ms: int = 0


class Notes:
    """See the module. All methods are for the event loop and never raise for what they are told."""

    def __init__(self, session_id: str, desk: Desk, epoch_ms: Callable[[], int]) -> None:
        self._session_id = session_id
        self._desk = desk
        self._epoch_ms = epoch_ms
        self._began_at_ms = epoch_ms()
        self._turns: dict[str, _Turn] = {}
        self._entries: dict[str, Entry] = {}
        self._next = 0
        self._taken_back: tuple[str, str] | None = None
        self._heeds: dict[type, Callable[[Any], None]] = {
            AudioOut: self._sent,
            ReplyText: self._wrote,
            Caption: self._read,
            TranscriptUpdated: self._said,
            TurnStarted: self._begin,
            Interrupted: self._cut,
            ContentFiltered: self._filtered,
            TurnCompleted: self._complete,
            RecordingTranscribed: self._transcribed,
        }

    def observe(self, event: ServerEvent) -> None:
        """An event of the conversation, in order. Audio and text, which are frequent, cost a look."""
        heed = self._heeds.get(type(event))
        if heed is not None:
            heed(event)

    def added(self, item_id: str, speaker: Speaker, text: str) -> None:
        """The client put a message into the conversation."""
        if text.strip():
            self._write(item_id, speaker, text)

    def removed(self, item_id: str) -> None:
        """The client took an entry out."""
        if self._entries.pop(item_id, None) is not None:
            self._desk.strike(item_id)

    def shortened(self, item_id: str, heard: str, heard_ms: int) -> None:
        """The client played no more than this of a reply that is over."""
        entry = self._entries.get(item_id)
        if entry is None or entry.speaker != "agent":
            return
        if not heard.strip():
            self.removed(item_id)
            return
        start_ms = entry.cues[0].start_ms if entry.cues else 0
        cues = cut_to_text(entry.cues, heard, start_ms + heard_ms)
        self._keep(replace(entry, text=_bounded(heard), cues=cues, interrupted=True))

    def end(self) -> None:
        """The conversation is over: what was under way ends here."""
        for turn in list(self._turns.values()):
            self._close(turn, "".join(turn.written), interrupted=True)
        self._desk.end(self._epoch_ms())

    # --- the user ---

    def _said(self, event: TranscriptUpdated) -> None:
        if not event.final:
            return
        item_id = spoken_item_id(self._session_id, event.utterance_id)
        if not event.text.strip():
            self.removed(item_id)
            return
        cue = Cue(event.start_ms, max(event.end_ms, event.start_ms + 1), event.text)
        self._write(item_id, "user", event.text, event.turn_id, (cue,))
        self._drop_repeated(item_id, event.text)

    def _transcribed(self, event: RecordingTranscribed) -> None:
        self.added(event.item_id, "user", event.text or "")

    def _drop_repeated(self, item_id: str, text: str) -> None:
        """Who went on is answered anew, and says it as a whole: what the turn before had of it is not said twice."""
        taken, self._taken_back = self._taken_back, None
        if taken is not None and taken[0] != item_id and text.casefold().startswith(taken[1].casefold()):
            self.removed(taken[0])

    # --- the agent ---

    def _begin(self, event: TurnStarted) -> None:
        self._turns[event.turn_id] = _Turn(event.turn_id, event.text, self._epoch_ms())
        if event.source == "text" and event.text.strip():
            at_ms = self._epoch_ms() - self._began_at_ms
            cue = Cue(at_ms, at_ms + _reading_ms(event.text), event.text)
            self._write(typed_item_id(event.turn_id), "user", event.text, event.turn_id, (cue,))

    def _sent(self, event: AudioOut) -> None:
        turn = self._turns.get(event.turn_id)
        if turn is None:
            return
        if turn.audio_at_ms is None:
            turn.audio_at_ms = self._epoch_ms()
        turn.sent_ms = event.start_ms + len(event.samples) * 1_000 // event.sample_rate_hz

    def _wrote(self, event: ReplyText) -> None:
        if (turn := self._turns.get(event.turn_id)) is not None:
            turn.written.append(event.text)

    def _filtered(self, event: ContentFiltered) -> None:
        """What came of the answer is taken back; a refusal follows."""
        if (turn := self._turns.get(event.turn_id)) is not None:
            turn.written.clear()
            turn.cues.clear()

    def _read(self, event: Caption) -> None:
        turn = self._turns.get(event.turn_id or "")
        if event.speaker != "agent" or not event.final or turn is None or not event.text.strip():
            return
        turn.cues.append(Cue(event.start_ms, max(event.end_ms, event.start_ms), event.text.strip()))
        self._keep_reply(turn, " ".join(cue.text for cue in turn.cues), final=False)

    def _cut(self, event: Interrupted) -> None:
        turn = self._turns.get(event.turn_id)
        if turn is not None and not event.resumable:
            turn.heard, turn.heard_ms = event.heard_text.strip(), event.heard_ms
            asked = [e for e in self._entries.values() if e.turn_id == event.turn_id and e.speaker == "user"]
            if asked and not turn.heard:
                self._taken_back = (asked[-1].item_id, asked[-1].text)

    def _complete(self, event: TurnCompleted) -> None:
        turn = self._turns.get(event.turn_id)
        if turn is not None:
            self._close(turn, event.text, interrupted=event.interrupted)

    def _close(self, turn: _Turn, text: str, *, interrupted: bool) -> None:
        """The reply is over. Of an interrupted one only what was heard was said."""
        self._turns.pop(turn.turn_id, None)
        heard = turn.heard
        if interrupted and heard is None and turn.audio_at_ms is not None:
            # It ended with the conversation: what had been sent by now, and had time to sound.
            turn.heard_ms = min(turn.sent_ms, max(0, self._epoch_ms() - turn.audio_at_ms))
            heard = until_ms(turn.cues, turn.heard_ms)
        if heard is not None and interrupted:
            turn.cues = list(cut_to_text(tuple(turn.cues), heard, turn.heard_ms))
            text = heard
        elif not text.strip():
            text = " ".join(cue.text for cue in turn.cues)
        if text.strip():
            self._keep_reply(turn, text, final=True, interrupted=interrupted)
        else:
            self.removed(reply_item_id(turn.turn_id))

    def _keep_reply(self, turn: _Turn, text: str, *, final: bool, interrupted: bool = False) -> None:
        base_ms = (turn.audio_at_ms or self._epoch_ms()) - self._began_at_ms
        cues = turn.cues or [Cue(0, _reading_ms(text), text)]
        placed = tuple(
            Cue(base_ms + cue.start_ms, base_ms + max(cue.end_ms, cue.start_ms + 1), cue.text) for cue in cues
        )
        item_id = reply_item_id(turn.turn_id)
        self._write(item_id, "agent", text, turn.turn_id, placed, interrupted=interrupted, final=final)

    # --- what is kept ---

    def _write(  # noqa: PLR0913 - an entry's own fields
        self,
        item_id: str,
        speaker: Speaker,
        text: str,
        turn_id: str | None = None,
        cues: tuple[Cue, ...] = (),
        *,
        interrupted: bool = False,
        final: bool = True,
    ) -> None:
        before = self._entries.get(item_id)
        if before is None:
            if len(self._entries) >= MOST_ENTRIES:
                self._desk.lose()
                return
            self._next += 1
        number, at_ms = (self._next, self._epoch_ms()) if before is None else (before.number, before.at_ms)
        self._keep(Entry(item_id, number, speaker, _bounded(text), at_ms, turn_id, interrupted, final, cues))

    def _keep(self, entry: Entry) -> None:
        if self._entries.get(entry.item_id) != entry:
            self._entries[entry.item_id] = entry
            self._desk.write(entry)


def _bounded(text: str) -> str:
    """Text that every database keeps: not too long, and without what is no character."""
    text = text.replace("\x00", "").strip().encode("utf-8", "replace").decode()
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


def _reading_ms(text: str) -> int:
    """How long a line that nobody spoke stands: 15 characters a second, at least one."""
    return max(1_000, len(text) * 1_000 // 15)
