from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from usage_events import events, numbered

from metering import journal as journal_module
from metering.errors import JournalLineDamaged
from metering.journal import Journal, SegmentReader, claim_orphans, running_owners, waiting_turns
from metering.journal_lines import Entry, TurnOpened, UsageRecorded, decode_line, encode_line

entries = st.one_of(st.builds(TurnOpened, events()), st.builds(UsageRecorded, events()))


def line(number: int) -> bytes:
    return encode_line(UsageRecorded(numbered(number)))


def abandon(journal: Journal) -> None:
    """Let go as a killed process does: descriptors closed by the kernel, nothing else."""
    os.close(journal._file)
    os.close(journal._lock)


def read(root: Path) -> list[Entry]:
    found: list[Entry] = []
    for orphan in claim_orphans(root):
        found += orphan.entries()
        orphan.release()
    return found


@given(entries)
def test_a_line_says_what_was_written(entry: Entry) -> None:
    assert decode_line(encode_line(entry).removesuffix(b"\n")) == entry


@given(entries, st.data())
def test_a_line_with_any_byte_changed_is_damaged(entry: Entry, data: st.DataObject) -> None:
    whole = bytearray(encode_line(entry).removesuffix(b"\n"))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(JournalLineDamaged):
        decode_line(bytes(whole))


@given(st.binary())
def test_garbage_is_damaged_and_nothing_else_happens(garbage: bytes) -> None:
    with pytest.raises(JournalLineDamaged):
        decode_line(garbage)


def test_a_segment_cut_at_every_byte_gives_the_whole_lines_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "segment.jsonl"
    lines = [line(n) for n in range(3)]
    data = b"".join(lines)
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        reader = SegmentReader(path, 0)
        numbers = [entry.event.audio_ms_in - 1 for entry in reader]
        whole = sum(cut >= len(b"".join(lines[: n + 1])) - 1 for n in range(3))  # the newline may be missing
        assert numbers == list(range(whole))
        assert reader.damaged_lines == 0


def test_a_damaged_line_is_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "segment.jsonl"
    path.write_bytes(line(1) + line(2).replace(b"whisper", b"whimper") + b"\0" * 100 + b"\n" + line(3))
    reader = SegmentReader(path, 0)
    assert [entry.event for entry in reader] == [numbered(1), numbered(3)]
    assert reader.damaged_lines == 2


def test_a_tail_of_zeros_as_power_loss_leaves_it_is_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "segment.jsonl"
    path.write_bytes(line(1) + b"\0" * 4096)
    reader = SegmentReader(path, 0)
    assert [entry.event for entry in reader] == [numbered(1)]
    assert reader.damaged_lines == 0


def test_a_running_owners_journal_is_not_taken(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(line(1))
    assert claim_orphans(tmp_path) == []
    abandon(journal)
    assert [entry.event for entry in read(tmp_path)] == [numbered(1)]


def test_what_waits_in_the_journals_of_the_dead_is_counted_turn_by_turn(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(encode_line(TurnOpened(numbered(1))) + line(1) + line(2))
    assert waiting_turns(tmp_path) == 0  # its owner lives, and will enter it
    abandon(journal)
    assert waiting_turns(tmp_path) == 2
    assert len(read(tmp_path)) == 3  # counting takes nothing away


def test_a_journal_that_is_being_removed_does_not_hide_another_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not running_owners(tmp_path)
    running = Journal(tmp_path)
    assert running_owners(tmp_path)
    ended = tmp_path / "ended"
    ended.mkdir()
    lock = journal_module._lock

    def just_removed(directory: Path) -> int | None:
        if directory == ended:
            directory.rmdir()
        return lock(directory)

    monkeypatch.setattr(journal_module, "_lock", just_removed)
    monkeypatch.setattr(Path, "iterdir", lambda _: iter([ended, running.segment.parent]))
    assert running_owners(tmp_path)
    running.close(remove=True)


def test_an_orphan_is_taken_by_one_only(tmp_path: Path) -> None:
    abandon(Journal(tmp_path))
    first = claim_orphans(tmp_path)
    assert len(first) == 1
    assert claim_orphans(tmp_path) == []
    first[0].discard()
    assert list(tmp_path.iterdir()) == []


def test_segments_are_read_in_the_order_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(12):
        journal.append(line(number))
        journal.rotate(b"")
    abandon(journal)
    assert [entry.event for entry in read(tmp_path)] == [numbered(n) for n in range(12)]


def test_a_damaged_orphan_is_kept_aside_and_not_found_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(line(1) + b"not a line\n" + line(2))
    abandon(journal)
    (orphan,) = claim_orphans(tmp_path)
    assert len(list(orphan.entries())) == 2
    orphan.discard()
    assert claim_orphans(tmp_path) == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".damaged"]


def test_closing_removes_the_journal_or_leaves_it_to_be_found(tmp_path: Path) -> None:
    Journal(tmp_path).close(remove=True)
    assert list(tmp_path.iterdir()) == []
    kept = Journal(tmp_path)
    kept.append(line(1))
    kept.close(remove=False)
    assert len(read(tmp_path)) == 1


def test_writing_to_a_removed_segment_is_an_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.segment.unlink()
    with pytest.raises(FileNotFoundError):
        journal.append(line(1))
    journal.close(remove=True)


def test_stray_files_beside_the_journals_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    assert claim_orphans(tmp_path) == []
    assert claim_orphans(tmp_path / "missing") == []
