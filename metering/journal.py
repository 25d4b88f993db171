"""The journal's files: one directory per running recorder, append-only segments inside it.

``<root>/<owner>/00000001.jsonl``, ... The owner holds an advisory lock (flock) on its directory for as long as it
lives; the kernel lets go of it however the process ends, and that is how an orphan is told from a running owner's.
A write that returned is on the disk (fdatasync). Knows lines only as bytes to append and entries to read; what they
mean for the ledger is ``metering.forwarder``'s business. Local Linux or macOS file systems only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from metering.codec import dumps
from metering.errors import JournalLineDamaged
from metering.journal_lines import Entry, decode_line

_SUFFIX = ".jsonl"
_DAMAGED = ".damaged"


class Journal:
    """The running recorder's own journal. Used by one thread. Every method may raise OSError."""

    def __init__(self, root: Path) -> None:
        """Make a directory of its own under ``root`` and lock it."""
        self._directory, self._lock = _make_owned(root)
        self._number = 0
        self._file = -1
        self.segment = self._directory
        self.size = 0
        try:
            self.rotate(b"")
        except OSError:
            self.close(remove=True)
            raise

    def append(self, lines: bytes) -> None:
        """Add whole lines to the segment; on the disk when this returns.

        If it raises, some of them may be there, torn at the end: rotate before the next one.
        """
        _write_all(self._file, lines)
        os.fdatasync(self._file)
        # A removed file can still be written to, in vain.
        if not os.path.samestat(os.fstat(self._file), self.segment.stat()):
            raise FileNotFoundError(errno.ENOENT, "the segment was removed while it was written", self.segment)
        self.size += len(lines)

    def rotate(self, head: bytes) -> Path:
        """Go on in a new segment that begins with ``head``, and return the old one. If it raises, nothing changed."""
        new = self._directory / f"{self._number + 1:08d}{_SUFFIX}"
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, head)
            os.fdatasync(file)
            os.fsync(self._lock)  # the directory entry too
        except OSError:
            os.close(file)
            with suppress(OSError):
                new.unlink()
            raise
        old, old_file = self.segment, self._file
        self.segment, self._file, self.size = new, file, len(head)
        self._number += 1
        if old_file != -1:
            os.close(old_file)
        return old

    def close(self, *, remove: bool) -> None:
        """Let go. ``remove``: nothing in it is needed any more; otherwise the next recovery finds it."""
        if self._file != -1:
            os.close(self._file)
            self._file = -1
        if remove:
            shutil.rmtree(self._directory, ignore_errors=True)
        os.close(self._lock)


class OrphanedJournal:
    """The journal of a process that is gone, locked by us so that only one recovers it."""

    def __init__(self, directory: Path, lock: int) -> None:
        self._directory = directory
        self._lock = lock
        self.damaged_lines = 0

    def entries(self) -> Iterator[Entry]:
        """Everything readable, in the order written. Raises OSError."""
        self.damaged_lines = 0
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            segment = SegmentReader(path, 0)
            yield from segment
            self.damaged_lines += segment.damaged_lines

    def discard(self) -> None:
        """Everything in it is in the ledger: remove it. With damaged lines it is kept aside for people to see."""
        if self.damaged_lines:
            self._directory.rename(self._directory.with_name(self._directory.name + _DAMAGED))
        else:
            shutil.rmtree(self._directory, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Leave it to the next recovery."""
        os.close(self._lock)


def waiting_turns(root: Path) -> int:
    """How many turns stand in journals whose owners are gone, and in no ledger yet. Raises OSError."""
    turns = 0
    for orphan in claim_orphans(root):
        try:
            turns += len({entry.event.request_id for entry in orphan.entries()})
        finally:
            orphan.release()
    return turns


def running_owners(root: Path) -> bool:
    """Whether a process that lives has a journal under ``root``. Raises OSError."""
    for directory in root.iterdir() if root.is_dir() else ():
        if directory.suffix != _DAMAGED and directory.is_dir():
            lock = _lock(directory)
            if lock is not None:
                os.close(lock)
            elif directory.is_dir():  # else it has just been removed
                return True
    return False


def claim_orphans(root: Path) -> list[OrphanedJournal]:
    """Every journal under ``root`` whose owner is gone, now ours. Raises OSError."""
    directories = sorted(root.iterdir()) if root.is_dir() else []
    return [
        OrphanedJournal(directory, lock)
        for directory in directories
        if directory.suffix != _DAMAGED and (lock := _lock(directory)) is not None
    ]


def journals_that_name(root: Path, tenant_id: str, user_id: str) -> list[Path]:
    """The segments under ``root`` in which a person stands. Raises OSError."""
    needle = _needle(tenant_id, user_id)
    return [path for path in root.glob(f"*/*{_SUFFIX}") if needle in _content(path)]


def erase_from_damaged(root: Path, tenant_id: str, user_id: str) -> None:
    """Take the lines that name a person out of what was kept aside for people to see. Raises OSError."""
    needle = _needle(tenant_id, user_id)
    for path in root.glob(f"*{_DAMAGED}/*{_SUFFIX}"):
        if needle in (content := _content(path)):
            lines = [line for line in content.splitlines(keepends=True) if needle not in line]
            new = path.with_suffix(".new")
            new.write_bytes(b"".join(lines))
            new.replace(path)


def _needle(tenant_id: str, user_id: str) -> bytes:
    """How a person stands in an event's line: the two fields are neighbours there (a test holds it)."""
    return dumps({"tenant_id": tenant_id, "user_id": user_id})[1:-1].encode()


def _content(path: Path) -> bytes:
    """A segment's bytes; none where it is gone by now."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


class SegmentReader:
    """The entries of one segment from a byte offset on; afterwards ``damaged_lines`` says how many did not hold.

    ``end``: the byte before which to stop, while others write behind it; None reads to the end of the file.

    A last line without its newline was never acknowledged (the crash came first) and is no damage.
    """

    def __init__(self, path: Path, offset: int, end: int | None = None) -> None:
        self._path = path
        self._offset = offset
        self._end = end
        self.damaged_lines = 0

    def __iter__(self) -> Iterator[Entry]:
        with self._path.open("rb") as file:
            position = file.seek(self._offset)
            for line in file:
                position += len(line)
                if self._end is not None and position > self._end:
                    return
                try:
                    yield decode_line(line.removesuffix(b"\n"))
                except JournalLineDamaged:
                    self.damaged_lines += line.endswith(b"\n")


def _make_owned(root: Path) -> tuple[Path, int]:
    root.mkdir(parents=True, exist_ok=True)
    while True:
        directory = root / secrets.token_hex(8)
        directory.mkdir(mode=0o700)
        # Between these two lines a recovery elsewhere may take the empty directory for an orphan's: try another.
        lock = _lock(directory)
        if lock is not None:
            root_file = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(root_file)
            finally:
                os.close(root_file)
            return directory, lock


def _lock(directory: Path) -> int | None:
    """A locked descriptor of the directory, or None if somebody has it or it has just been removed."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        same = os.path.samestat(os.fstat(lock), directory.stat())
    except (BlockingIOError, FileNotFoundError):
        same = False
    if not same:
        os.close(lock)
        return None
    return lock


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
