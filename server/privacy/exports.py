"""The export of a person: everything that is kept of them, in a ZIP of JSON Lines and CSV, with checksums.

Made in a file without a name (nothing is left of it, however the process ends), stored in parts in the records, so that
any server can give it out, and gone when its time is over. Driven by the privacy office; ``export_tables`` says what is
in it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import AsyncGenerator, Iterable
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import anyio.to_thread
import sqlalchemy as sa

from metering.ledger import Ledger, UsageQuery, read_all
from metering.records import Records
from metering.report import csv_export, jsonl_export, timestamp
from server.conversations.recordings import Recordings
from server.conversations.tables import Recording
from server.guard import Identity
from server.privacy import tables
from server.privacy.export_tables import TABLES, csv_lines, json_lines
from server.privacy.jobs import Job, Jobs
from server.version import __version__

PART_BYTES: Final = 256 * 1024
FORMAT: Final = "convergio-voice.person.1"


class Exports:
    """See the module."""

    def __init__(self, records: Records, jobs: Jobs, recordings: Recordings, directory: Path, kept_ms: int) -> None:
        self._records = records
        self._jobs = jobs
        self._recordings = recordings
        self._directory = directory
        self._kept_ms = kept_ms

    async def run(self, job: Job, ledger: Ledger, actor: Identity, now_ms: int) -> None:
        """Make it and store it; done again from the beginning after a crash. One that was ended meanwhile, as by a
        deletion on another server, leaves nothing. Raises RecordsError, LedgerError, OSError."""
        result = await anyio.to_thread.run_sync(partial(self._make, job, ledger, now_ms))
        await self._jobs.over(job, actor, "finished", result, expires_at_ms=now_ms + self._kept_ms)

    async def parts(self, job: Job) -> AsyncGenerator[bytes]:
        """Its bytes. Raises RecordsError."""
        table, number = tables.parts, 0
        while True:
            question = sa.select(table.c.data).where(table.c.job_id == job.job_id, table.c.number == number)
            data = await self._records.run_read(
                lambda connection, question=question: connection.execute(question).scalar_one_or_none()
            )
            if data is None:
                return
            yield bytes(data)
            number += 1

    def _make(self, job: Job, ledger: Ledger, now_ms: int) -> dict[str, Any]:
        with tempfile.TemporaryFile(dir=self._directory) as file:
            counts = self._write(job, ledger, now_ms, file)
            size = file.tell()
            file.seek(0)
            return {"sha256": self._store(job, file), "bytes": size, "counts": counts}

    def _write(self, job: Job, ledger: Ledger, now_ms: int, file: IO[bytes]) -> dict[str, int]:
        usage = UsageQuery(tenant_id=job.tenant_id, user_id=job.user_id, replaced=True)
        counts: dict[str, int] = {}
        with _Archive(file) as archive:
            for name, question in TABLES.items():
                with self._records.read() as connection:  # one at a time: what is exported may be long
                    rows = [dict(row) for row in connection.execute(question(job.tenant_id, job.user_id)).mappings()]
                counts[name] = len(rows)
                self._renew(job)
                archive.add(f"{name}.jsonl", json_lines(rows))
                archive.add(f"{name}.csv", csv_lines(name, rows))
                if name == "recordings":
                    self._add_sound(archive, rows)
            archive.add("usage.jsonl", jsonl_export(read_all(ledger, usage)))
            archive.add("usage.csv", csv_export(read_all(ledger, usage)))
            counts["usage"] = ledger.totals(usage).events
            about = {
                "format": FORMAT,
                "program": f"convergio-voice {__version__}",
                "tenant_id": job.tenant_id,
                "user_id": job.user_id,
                "asked_at": timestamp(job.asked_at_ms),
                "made_at": timestamp(now_ms),
                "counts": counts,
            }
            archive.add("metadata.json", [json.dumps(about, ensure_ascii=False, indent=2).encode()])
            archive.finish()
        return counts

    def _add_sound(self, archive: _Archive, rows: list[dict[str, Any]]) -> None:
        """The files themselves; without those that are on another server, or being made."""
        for row in rows:
            recording = Recording(**row)
            try:
                file = self._recordings.path(recording).open("rb")
            except FileNotFoundError:
                continue
            with file:
                if recording.ended_at_ms is not None:
                    archive.add(f"recordings/{recording.session_id}.wav", iter(partial(file.read, PART_BYTES), b""))

    def _store(self, job: Job, file: IO[bytes]) -> str:
        digest, number, table = hashlib.sha256(), 0, tables.parts
        with self._records.write() as connection:
            connection.execute(table.delete().where(table.c.job_id == job.job_id))
        while data := file.read(PART_BYTES):
            digest.update(data)
            with self._records.write() as connection:
                if not self._jobs.renew(connection, job):
                    break
                connection.execute(table.insert().values(job_id=job.job_id, number=number, data=data))
            number += 1
        return digest.hexdigest()

    def _renew(self, job: Job) -> None:
        with self._records.write() as connection:
            self._jobs.renew(connection, job)


class _Archive:
    """A ZIP in the making, and the checksums of what is in it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        self._files: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        digest, size = hashlib.sha256(), 0
        with self._zip.open(name, "w", force_zip64=True) as member:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                member.write(chunk)
        self._files[name] = {"sha256": digest.hexdigest(), "bytes": size}

    def finish(self) -> None:
        """The manifest, twice: for programs, and for ``sha256sum -c``."""
        self._zip.writestr("manifest.json", json.dumps({"files": self._files}, indent=2))
        lines = "".join(f"{told['sha256']}  {name}\n" for name, told in self._files.items())
        self._zip.writestr("SHA256SUMS", lines)
