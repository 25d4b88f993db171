"""Recordings of conversations on this server's disk: their rows, their files, and that neither outlives the other.

A recording belongs to a stored conversation: it begins only where there is one, and ``delete_conversations`` takes its
row with it. The row comes before the file and the file goes after the row, so a file without a row is nobody's, and
``sweep`` removes it, however its server died. Names are drawn; a tenant's files lie together. Knows no policy and no
consent: whoever records brings the consent's id. Owned by the privacy office.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio.to_thread
import sqlalchemy as sa

from metering.records import Records
from server.conversations import tables
from server.conversations.tables import Recording
from server.conversations.wave_file import WaveFile

STALE_S: Final = 120.0
"""A recording whose file was not touched for so long has lost its server."""
ABSENT_MS: Final = 25 * 3_600_000
"""A recording under way without a file here may be another server's; none takes so long."""
AT_ONCE: Final = 500


class Recordings:
    """See the module."""

    def __init__(self, records: Records, directory: Path, epoch_ms: Callable[[], int]) -> None:
        self._records = records
        self._directory = directory
        self._epoch_ms = epoch_ms

    async def begin(self, session_id: str, tenant_id: str, consent_id: str, rate_hz: int) -> Recording | None:
        """A recording of a stored conversation, which has no other; None where it is not stored (any more).

        Raises RecordsError.
        """
        recording = Recording(uuid.uuid4().hex, session_id, tenant_id, consent_id, rate_hz, self._epoch_ms())
        sessions = tables.conversations
        stored = sa.select(sessions.c.session_id).where(
            sessions.c.session_id == session_id, sessions.c.tenant_id == tenant_id
        )

        def write(connection: sa.Connection) -> bool:
            if connection.execute(stored.with_for_update()).one_or_none() is None:
                return False
            row = {name: getattr(recording, name) for name in Recording.__slots__}
            connection.execute(tables.recordings.insert().values(row))
            return True

        return recording if await self._records.run_write(write) else None

    async def finish(self, recording: Recording, size: int, duration_ms: int, ending: str) -> Recording | None:
        """It is complete; None where it was deleted meanwhile, and its file is gone. Raises RecordsError, OSError."""
        table = tables.recordings
        done = replace(recording, ended_at_ms=self._epoch_ms(), bytes=size, duration_ms=duration_ms, ending=ending)
        told = {name: getattr(done, name) for name in ("ended_at_ms", "bytes", "duration_ms", "ending")}
        change = table.update().where(table.c.recording_id == recording.recording_id).values(told)
        if await self._records.run_write(lambda connection: connection.execute(change).rowcount):
            return done
        await self._unlink(recording)
        return None

    async def discard(self, recording: Recording) -> None:
        """There was nothing to be recorded: its row goes, then its file. Raises RecordsError, OSError."""
        table = tables.recordings
        gone = table.delete().where(table.c.recording_id == recording.recording_id)
        await self._records.run_write(lambda connection: connection.execute(gone).rowcount)
        await self._unlink(recording)

    async def _unlink(self, recording: Recording) -> None:
        await anyio.to_thread.run_sync(lambda: self.path(recording).unlink(missing_ok=True))

    async def of(self, session_ids: Sequence[str]) -> dict[str, Recording]:
        """The recordings of these conversations, by theirs. Raises RecordsError."""
        return await self._records.run_read(lambda connection: _of(connection, session_ids))

    def path(self, recording: Recording) -> Path:
        """Where its file is."""
        tenant = hashlib.sha256(recording.tenant_id.encode()).hexdigest()[:16]
        return self._directory / tenant / f"{recording.recording_id}.wav"

    async def sweep(self) -> int:
        """Remove files whose recording is gone, and complete those that lost their server; returns how many went.

        Raises RecordsError, OSError.
        """
        return await anyio.to_thread.run_sync(self._sweep)

    def _sweep(self) -> int:
        # Files first, rows after: a file that is found had its row before.
        files = {path.stem: path for path in self._directory.glob("*/*.wav")}
        gone = 0
        ids = list(files)
        for at in range(0, len(ids), AT_ONCE):
            some = ids[at : at + AT_ONCE]
            with self._records.read() as connection:
                table = tables.recordings
                known = sa.select(table.c.recording_id).where(table.c.recording_id.in_(some))
                kept = set(connection.execute(known).scalars())
            for recording_id in set(some) - kept:
                files[recording_id].unlink(missing_ok=True)
                gone += 1
        self._complete_lost()
        return gone

    def _complete_lost(self) -> None:
        """Recordings under way whose file nobody touches any more: their server died."""
        table, now_s = tables.recordings, self._epoch_ms() / 1_000
        with self._records.read() as connection:
            open_ones = [
                Recording(**row)
                for row in connection.execute(sa.select(table).where(table.c.ended_at_ms.is_(None))).mappings()
            ]
        for recording in open_ones:
            told = self._lost(recording, now_s)
            if told is None:
                continue
            mine = (table.c.recording_id == recording.recording_id) & table.c.ended_at_ms.is_(None)
            empty = not told.get("duration_ms")
            change = (
                table.delete().where(mine) if empty else table.update().where(mine).values(told | {"ending": "lost"})
            )
            with self._records.write() as connection:
                changed = connection.execute(change).rowcount
            if empty and changed:
                self.path(recording).unlink(missing_ok=True)

    def _lost(self, recording: Recording, now_s: float) -> dict[str, int] | None:
        """What is left of a recording whose server died; None where it goes on."""
        path = self.path(recording)
        try:
            touched_s = path.stat().st_mtime
        except FileNotFoundError:
            absent = self._epoch_ms() - recording.started_at_ms > ABSENT_MS
            return {"ended_at_ms": recording.started_at_ms} if absent else None
        if now_s - touched_s < STALE_S:
            return None
        size, duration_ms = WaveFile.mend(path)
        return {"ended_at_ms": round(touched_s * 1_000), "bytes": size, "duration_ms": duration_ms}


def _of(connection: sa.Connection, session_ids: Iterable[str]) -> dict[str, Recording]:
    table = tables.recordings
    question = sa.select(table).where(table.c.session_id.in_(list(session_ids)))
    return {row["session_id"]: Recording(**row) for row in connection.execute(question).mappings()}
