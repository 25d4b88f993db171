"""Writes conversations down, off the turns' path: notes wait in a bounded place and go to the database in batches.

Owns what waits. A note costs a few dictionary operations; within ``GATHER_S`` it is on its way and, where the database
works, durable within a second. While the database is away or slow, notes wait (a newer one of an entry takes the place
of the older one); beyond the bound they are lost, and that is counted, logged, and said in the conversation itself. A
conversation that has been deleted is not written to again. Owned by the privacy office, which runs ``run``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio
import sqlalchemy as sa

from metering.records import Records, RecordsError
from server.conversations import tables
from server.conversations.tables import Entry, Header

logger = logging.getLogger(__name__)

GATHER_S: Final = 0.2
WRITE_LIMIT_S: Final = 30.0
RETRY_FIRST_S: Final = 0.25
RETRY_MAX_S: Final = 5.0
AT_ONCE: Final = 500
"""Entries in one transaction."""


@dataclass(slots=True)
class _Waiting:
    """What of one conversation is not written yet. An entry that is ``None`` is struck."""

    header: Header | None = None
    entries: dict[str, Entry | None] = field(default_factory=dict[str, Entry | None])
    ended_at_ms: int | None = None
    lost: int = 0


class Scribe:
    """See the module. All methods but the work on a connection are for the event loop."""

    def __init__(self, records: Records, epoch_ms: Callable[[], int], most_waiting: int) -> None:
        self._records = records
        self._epoch_ms = epoch_ms
        self._most = most_waiting
        self._waiting: dict[str, _Waiting] = {}
        self._size = 0
        self._writing: dict[str, _Waiting] = {}
        self._forgotten: set[str] = set()
        self._wake = anyio.Event()
        self._wrote = anyio.Event()
        """Set, and another in its place, whenever an attempt to write has ended."""
        self._hurry = False
        self._written = 0
        self._lost = 0
        self._failed = False

    # --- notes ---

    def desk(self, header: Header) -> SessionDesk:
        """Where a conversation that begins is noted down. One in which nothing is said is not stored."""
        return SessionDesk(self, header)

    def open(self, header: Header) -> bool:
        """A conversation has its first words; False where too many wait already."""
        waiting = self._of(header.session_id)
        if waiting is None:
            return False
        waiting.header = header
        return True

    def put(self, session_id: str, item_id: str, entry: Entry | None) -> None:
        """An entry as it is now (``None``: struck)."""
        waiting = self._of(session_id)
        if waiting is None or (item_id not in waiting.entries and self._size >= self._most):
            self.lose(session_id)
            return
        if item_id not in waiting.entries:
            self._size += 1
        waiting.entries[item_id] = entry
        self._stir()

    def lose(self, session_id: str) -> None:
        """An entry of this conversation cannot be kept."""
        self._lost += 1
        if (waiting := self._of(session_id)) is not None:
            waiting.lost += 1
            self._stir()

    def end(self, session_id: str, at_ms: int) -> None:
        """The conversation is over."""
        if (waiting := self._of(session_id)) is not None:
            waiting.ended_at_ms = at_ms
            self._stir()

    def forget(self, session_id: str) -> None:
        """The conversation is being deleted: what waits of it is dropped. What comes of it later finds no header."""
        waiting = self._waiting.pop(session_id, None)
        if waiting is not None:
            self._size -= len(waiting.entries)
        if session_id in self._writing:
            self._forgotten.add(session_id)

    def counts(self) -> Mapping[str, int]:
        """Entries so far by fate."""
        return {"written": self._written, "lost": self._lost}

    @property
    def waiting(self) -> int:
        """Entries not yet written."""
        return self._size + sum(len(waiting.entries) for waiting in self._writing.values())

    @property
    def failed(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._failed

    # --- the writer ---

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        delay_s = RETRY_FIRST_S
        while True:
            await self._wake.wait()
            if not self._hurry:
                await anyio.sleep(GATHER_S)
            if await self._write_some():
                delay_s = RETRY_FIRST_S
            else:
                await anyio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_MAX_S)

    async def flush(self, limit_s: float, session_id: str | None = None) -> bool:
        """Wait until everything noted so far (of one conversation) is written; False where that takes longer. ``run``
        has to be running."""
        with anyio.move_on_after(limit_s):
            while self._waits(session_id):
                self._hurry = True
                await self._wrote.wait()
        return not self._waits(session_id)

    async def finish(self, limit_s: float) -> bool:
        """Write what is left, ``run`` having ended; False where not all of it could be."""
        with anyio.move_on_after(limit_s):
            while self._waiting:
                if not await self._write_some():
                    break
        left = self.waiting
        if left:
            self._lost += left
            logger.error("entries of conversations could not be stored", extra={"entries": left})
        return not left

    def _waits(self, session_id: str | None) -> bool:
        if session_id is None:
            return bool(self._waiting or self._writing)
        return session_id in self._waiting or session_id in self._writing

    def _of(self, session_id: str) -> _Waiting | None:
        """What waits of it; None where too many conversations wait already."""
        if session_id not in self._waiting and len(self._waiting) >= self._most:
            return None
        return self._waiting.setdefault(session_id, _Waiting())

    def _stir(self) -> None:
        self._wake.set()

    async def _write_some(self) -> bool:
        batch = self._take()
        try:
            await self._records.run_write(lambda connection: _write(connection, batch, self._epoch_ms()), WRITE_LIMIT_S)
        except RecordsError as error:
            if not self._failed:
                logger.warning("conversations cannot be stored now; they wait", extra={"error": str(error)})
            self._failed = True
            return False
        else:
            self._written += sum(len(waiting.entries) for waiting in batch.values())
            if self._failed:
                logger.warning("conversations are stored again", extra={"lost": self._lost})
            self._failed = False
            self._writing, batch = {}, {}
            return True
        finally:
            self._put_back(batch)
            self._forgotten.clear()
            if not self._waiting:
                self._wake, self._hurry = anyio.Event(), False
            self._wrote.set()
            self._wrote = anyio.Event()

    def _take(self) -> dict[str, _Waiting]:
        """A batch: whole conversations, until there is enough."""
        batch: dict[str, _Waiting] = {}
        taken = 0
        while self._waiting and (not batch or taken < AT_ONCE):
            session_id = next(iter(self._waiting))
            batch[session_id] = self._waiting.pop(session_id)
            taken += len(batch[session_id].entries)
        self._size -= taken
        self._writing = batch
        return batch

    def _put_back(self, batch: Mapping[str, _Waiting]) -> None:
        """It was not written: what has come since is newer."""
        self._writing = {}
        for session_id, older in batch.items():
            if session_id in self._forgotten:
                continue
            newer = self._waiting.setdefault(session_id, _Waiting())
            self._size -= len(newer.entries)
            newer.header = older.header or newer.header
            newer.entries = older.entries | newer.entries
            self._size += len(newer.entries)
            newer.ended_at_ms = newer.ended_at_ms or older.ended_at_ms
            newer.lost += older.lost


class SessionDesk:
    """``notes.Desk`` of one conversation."""

    def __init__(self, scribe: Scribe, header: Header) -> None:
        self._scribe = scribe
        self._header = header
        self._session_id = header.session_id
        self._opened = False

    def write(self, entry: Entry) -> None:
        self._opened = self._opened or self._scribe.open(self._header)
        self._scribe.put(self._session_id, entry.item_id, entry)

    def strike(self, item_id: str) -> None:
        if self._opened:
            self._scribe.put(self._session_id, item_id, None)

    def lose(self) -> None:
        self._scribe.lose(self._session_id)

    def end(self, at_ms: int) -> None:
        if self._opened:
            self._scribe.end(self._session_id, at_ms)


def _write(connection: sa.Connection, batch: Mapping[str, _Waiting], now_ms: int) -> None:
    """Bears being done twice: rows are named by the conversation's own ids."""
    sessions, entries = tables.conversations, tables.entries
    wanted = sa.select(sessions.c.session_id).where(sessions.c.session_id.in_(list(batch)))
    there = set(connection.execute(wanted.with_for_update()).scalars())
    begun = [waiting.header for waiting in batch.values() if waiting.header is not None]
    new = [_header_row(header, now_ms) for header in begun if header.session_id not in there]
    if new:
        connection.execute(sessions.insert(), new)
    there |= {row["session_id"] for row in new}
    rows: list[dict[str, object]] = []
    for session_id, waiting in batch.items():
        if session_id not in there:
            continue  # deleted meanwhile
        if waiting.entries:
            of_session = entries.c.session_id == session_id
            connection.execute(entries.delete().where(of_session, entries.c.item_id.in_(list(waiting.entries))))
            rows += [entry.row(session_id) for entry in waiting.entries.values() if entry is not None]
        changed: dict[str, object] = {"last_at_ms": now_ms}
        if waiting.ended_at_ms is not None:
            changed["ended_at_ms"] = waiting.ended_at_ms
        if waiting.lost:
            changed["lost"] = sessions.c.lost + waiting.lost
        connection.execute(sessions.update().where(sessions.c.session_id == session_id).values(changed))
    if rows:
        connection.execute(entries.insert(), rows)


def _header_row(header: Header, now_ms: int) -> dict[str, object]:
    return {
        "session_id": header.session_id,
        "tenant_id": header.tenant_id,
        "tenant_type": header.tenant_type,
        "user_id": header.user_id,
        "agent_id": header.agent_id,
        "transport": header.transport,
        "started_at_ms": header.started_at_ms,
        "last_at_ms": now_ms,
        "ended_at_ms": None,
        "lost": 0,
    }
