"""The tables of conversations, and the values they hold. Pure; used by the scribe, the store and ``server.privacy``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from metering.records import Area
from server.permissions import TenantType

CONVERSATIONS: Final = Area("conversations", "server.conversations.versions", "conversations_0002")
Speaker = Literal["user", "agent"]
_METADATA: Final = sa.MetaData()

conversations: Final = sa.Table(
    "conversations",
    _METADATA,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Text),
    sa.Column("tenant_type", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("agent_id", sa.Text),
    sa.Column("transport", sa.Text),
    sa.Column("started_at_ms", sa.BigInteger),
    sa.Column("last_at_ms", sa.BigInteger),
    sa.Column("ended_at_ms", sa.BigInteger),
    sa.Column("lost", sa.BigInteger),
)
entries: Final = sa.Table(
    "conversation_entries",
    _METADATA,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("item_id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger),
    sa.Column("turn_id", sa.Text),
    sa.Column("speaker", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("at_ms", sa.BigInteger),
    sa.Column("interrupted", sa.Boolean),
    sa.Column("final", sa.Boolean),
    sa.Column("cues", sa.Text),
)
recordings: Final = sa.Table(
    "conversation_recordings",
    _METADATA,
    sa.Column("recording_id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text),
    sa.Column("tenant_id", sa.Text),
    sa.Column("consent_id", sa.Text),
    sa.Column("rate_hz", sa.BigInteger),
    sa.Column("started_at_ms", sa.BigInteger),
    sa.Column("ended_at_ms", sa.BigInteger),
    sa.Column("duration_ms", sa.BigInteger),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("ending", sa.Text),
)


@dataclass(frozen=True, slots=True)
class Header:
    """Whose conversation it is. Times are epoch milliseconds."""

    session_id: str
    tenant_id: str
    tenant_type: TenantType
    user_id: str
    agent_id: str
    transport: str
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class Cue:
    """A stretch of speech as it is read, in milliseconds from the conversation's beginning."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What one of the two said in one go, as it was heard; ``number`` orders, ``final``: nothing more comes."""

    item_id: str
    number: int
    speaker: Speaker
    text: str
    at_ms: int
    turn_id: str | None = None
    interrupted: bool = False
    final: bool = True
    cues: tuple[Cue, ...] = ()

    def row(self, session_id: str) -> dict[str, Any]:
        """Its row."""
        cues = json.dumps([(cue.start_ms, cue.end_ms, cue.text) for cue in self.cues], ensure_ascii=False)
        return {
            "session_id": session_id,
            "item_id": self.item_id,
            "number": self.number,
            "turn_id": self.turn_id,
            "speaker": self.speaker,
            "text": self.text,
            "at_ms": self.at_ms,
            "interrupted": self.interrupted,
            "final": self.final,
            "cues": cues,
        }

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Entry:
        """The entry of a row."""
        cues = tuple(Cue(*cue) for cue in json.loads(row["cues"]))
        plain = {name: value for name, value in row.items() if name not in {"session_id", "cues"}}
        return cls(**plain, cues=cues)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A stored conversation without its words. ``lost``: entries that could not be kept."""

    session_id: str
    tenant_id: str
    tenant_type: TenantType
    user_id: str
    agent_id: str
    transport: str
    started_at_ms: int
    last_at_ms: int
    ended_at_ms: int | None
    lost: int


@dataclass(frozen=True, slots=True)
class Recording:
    """The sound of a conversation: a stereo WAV of 16 bits, the caller left, the agent right. Its name is its id.

    ``ended_at_ms`` ``None``: it is being made. ``ending`` says why it ended.
    """

    recording_id: str
    session_id: str
    tenant_id: str
    consent_id: str
    rate_hz: int
    started_at_ms: int
    ended_at_ms: int | None = None
    duration_ms: int = 0
    bytes: int = 0
    ending: str = ""
