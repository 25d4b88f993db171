"""What a conversation remembers: the messages a model reads, as they were said and heard.

Owned by the session; knows no model and no clock. Append-only between its rare cuts, so that a model's prompt cache
holds everything but the newest words: when the bounds are passed, the oldest turns go at once until half is left,
instead of one turn every time. A turn is a user message and all that followed; tool requests go with their results.

Entries may have an id, by which a client that keeps the conversation itself puts others beside them, shortens them to
what was heard, or takes them out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents.models.port import Message, ToolRequest
from agents.models.tokens import estimate_message_tokens, estimate_tokens

CUT_MARK: Final = "…"
"""Ends what the user heard of an interrupted reply, and stands for what is withheld; models read it as left out."""


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much is remembered. ``max_tokens`` is estimated, and bounds all messages without the system prompt.

    After a cut ``keep`` of either bound is left at most. A single message is shortened to ``message_share`` of the
    tokens, keeping its beginning and its end.
    """

    max_turns: int = 40
    max_tokens: int = 1_200
    keep: float = 0.5
    message_share: float = 0.4

    @classmethod
    def for_context(cls, context_tokens: int, instructions: str, max_output_tokens: int) -> HistoryLimits:
        """Limits for a model's context window, less its instructions, its reply and a margin for the estimate."""
        free = int((context_tokens - max_output_tokens) * 0.85) - estimate_tokens(instructions)
        return cls(max_tokens=max(200, free))


FIRST: Final = ""
"""As ``after``: before everything else."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of the conversation. ``item_id`` is empty where nobody will ask for it; ``withheld``: its words are
    not to be told again."""

    message: Message
    item_id: str = ""
    withheld: bool = False


class History:
    """One conversation's messages."""

    def __init__(self, limits: HistoryLimits | None = None) -> None:
        self._limits = limits or HistoryLimits()
        self._entries: list[Entry] = []

    def user(self, text: str, item_id: str = "") -> None:
        """The user's turn is certain: what they said."""
        self._entries = self._with(Entry(self._fitted(Message("user", text)), item_id))

    def assistant_heard(self, text: str, *, interrupted: bool = False, item_id: str = "") -> None:
        """What the user heard of the reply; nothing, where an interruption came before the first word."""
        text = text.strip()
        if not text:
            return
        if interrupted:
            text = _cut(text)
        self._entries.append(Entry(self._fitted(Message("assistant", text)), item_id))

    def tool_result(self, request: ToolRequest, output: str) -> None:
        """A tool ran in this turn: what was asked of it and what it answered (JSON text)."""
        self.add(Message("assistant", "", tool_requests=(request,)))
        self.add(Message("tool", output, tool_call_id=request.call_id))

    def add(self, message: Message, item_id: str = "", after: str | None = None) -> None:
        """Put a message after the entry ``after`` (``None``, or one that is forgotten: at the end)."""
        entry = Entry(self._fitted(message), item_id)
        place = 0 if after == FIRST else self._find(after)
        if place is not None:
            self._entries.insert(place if after == FIRST else place + 1, entry)
        elif message.role == "user":
            self._entries = self._with(entry)
        else:
            self._entries.append(entry)

    def withhold_user(self) -> None:
        """What the user said last is not to be told to a model again; that they said something stays."""
        for place in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[place]
            if entry.message.role == "user":
                withheld = replace(entry.message, text=CUT_MARK)
                self._entries[place] = replace(entry, message=withheld, withheld=True)
                return

    def remove(self, item_id: str) -> None:
        """Forget an entry; nothing happens where it is forgotten already."""
        self._entries = [entry for entry in self._entries if entry.item_id != item_id]

    def shorten(self, item_id: str, heard: str) -> None:
        """No more than ``heard`` of a reply was heard after all."""
        self.say(item_id, _cut(heard) if heard.strip() else "")

    def say(self, item_id: str, text: str) -> None:
        """An entry has this text after all; an entry without any is none."""
        place = self._find(item_id)
        if place is None:
            return
        if not text.strip():
            del self._entries[place]
            return
        message = replace(self._entries[place].message, text=text.strip())
        self._entries[place] = Entry(self._fitted(message), item_id)

    def correct(self, item_id: str, text: str) -> None:
        """An entry was written down wrongly; what is withheld stays so, however it is written."""
        place = self._find(item_id)
        if place is not None and not self._entries[place].withheld:
            self.say(item_id, text)

    def ask_anew(self, item_id: str, text: str) -> None:
        """What the user said was something else and is answered anew: what tools answered meanwhile is forgotten."""
        place = self._find(item_id)
        if place is None:
            self.user(text, item_id)
            return
        self._entries = [
            entry
            for at, entry in enumerate(self._entries)
            if at <= place or entry.item_id or not (entry.message.role == "tool" or entry.message.tool_requests)
        ]
        self.say(item_id, text)

    def messages(self, system_prompt: str | None = None) -> tuple[Message, ...]:
        """Everything remembered, for a model."""
        return rendered([entry.message for entry in self._entries], system_prompt)

    def with_user(self, text: str, system_prompt: str | None = None) -> tuple[Message, ...]:
        """What ``messages`` would be after ``user(text)``: for a reply drafted before the turn is certain."""
        entries = self._with(Entry(self._fitted(Message("user", text))))
        return rendered([entry.message for entry in entries], system_prompt)

    def _find(self, item_id: str | None) -> int | None:
        if not item_id:
            return None
        return next((place for place, entry in enumerate(self._entries) if entry.item_id == item_id), None)

    def _with(self, entry: Entry) -> list[Entry]:
        entries = [*self._entries, entry]
        starts = [place for place, entry in enumerate(entries) if place == 0 or entry.message.role == "user"]
        limits = self._limits
        tokens = _tokens(entries)
        if len(starts) <= limits.max_turns and tokens <= limits.max_tokens:
            return entries
        max_turns, max_tokens = int(limits.max_turns * limits.keep), int(limits.max_tokens * limits.keep)
        dropped = 0
        # The newest turn stays, whatever its size.
        while len(starts) - dropped > 1 and (len(starts) - dropped > max_turns or tokens > max_tokens):
            tokens -= _tokens(entries[starts[dropped] : starts[dropped + 1]])
            dropped += 1
        return entries[starts[dropped] :]

    def _fitted(self, message: Message) -> Message:
        limit = int(self._limits.max_tokens * self._limits.message_share)
        tokens = estimate_tokens(message.text)
        if tokens <= limit:
            return message
        chars = len(message.text) * limit // tokens
        head = chars // 3
        return replace(message, text=f"{message.text[:head]} {CUT_MARK} {message.text[head - chars :]}")


def _cut(text: str) -> str:
    return f"{text.rstrip('.… ')}{CUT_MARK}"


def _tokens(entries: list[Entry]) -> int:
    return sum(estimate_message_tokens(entry.message) for entry in entries)


def rendered(messages: list[Message], system_prompt: str | None = None) -> tuple[Message, ...]:
    """Messages as a model takes them, in whatever order they came to be.

    User messages with nothing in between become one (some chat templates insist on turns that alternate). Requests
    for tools are followed at once by their results; one without a result, or a result nobody asked for, is left out,
    since models' interfaces refuse both.
    """
    results = {message.tool_call_id: message for message in messages if message.role == "tool"}
    told: list[Message] = [] if system_prompt is None else [Message("system", system_prompt)]
    for message in messages:
        before = told[-1] if told else None
        if message.role == "tool":
            continue
        if message.tool_requests:
            told += _answered(message, results)
        elif before is not None and before.role == message.role == "user":
            told[-1] = replace(before, text=f"{before.text}\n{message.text}")
        else:
            told.append(message)
    return tuple(told)


def _answered(message: Message, results: dict[str | None, Message]) -> list[Message]:
    requests = tuple(request for request in message.tool_requests if request.call_id in results)
    if not requests:
        return [replace(message, tool_requests=())] if message.text else []
    return [replace(message, tool_requests=requests), *(results[request.call_id] for request in requests)]
