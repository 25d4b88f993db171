"""Notes on their way to the database: in batches, in the newest form, while it is away, beyond the bound, deleted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
import sqlalchemy as sa

from metering.records import Records, RecordsUnavailable
from metering.records.database import RUN_LIMIT_S
from server.conversations import CONVERSATIONS, ConversationStore, Scribe
from server.conversations.store import delete_conversations
from server.conversations.tables import Cue, Entry, Header

T = TypeVar("T")


class Unsteady(Records):
    """Records whose database can be away."""

    away = False
    attempts = 0

    async def run_write(self, work: Callable[[sa.Connection], T], limit_s: float = RUN_LIMIT_S) -> T:
        self.attempts += 1
        if self.away:
            raise RecordsUnavailable("away")
        return await super().run_write(work, limit_s)


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Unsteady]:
    if request.param == "sqlite":
        opened = Unsteady.in_file(tmp_path / "records.sqlite3")
    else:
        url: str = request.getfixturevalue("postgres").database()
        opened = Unsteady("postgresql+psycopg" + url.removeprefix("postgresql"))
    assert isinstance(opened, Unsteady)
    opened.migrate([CONVERSATIONS])
    yield opened
    opened.close()


@asynccontextmanager
async def writing(records: Records, most: int = 1_000) -> AsyncGenerator[Scribe]:
    scribe = Scribe(records, lambda: 5_000, most)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scribe.run)
        yield scribe
        tasks.cancel_scope.cancel()


def header(session_id: str = "ses_1") -> Header:
    return Header(session_id, "school", "school", "ada", "default", "websocket", 1_000)


def entry(number: int, text: str = "words", **more: Any) -> Entry:
    return Entry(f"item_{number}", number, "user", text, 1_000 + number, cues=(Cue(0, 10, text),), **more)


async def test_what_is_noted_is_stored_as_it_is_at_last(records: Unsteady) -> None:
    async with writing(records) as scribe:
        desk = scribe.desk(header())
        for number in range(3):
            desk.write(entry(number, "first"))
        desk.write(entry(1, "corrected", turn_id="turn_1", interrupted=True))
        desk.strike("item_2")
        desk.end(4_000)
        assert await scribe.flush(10)
        store = ConversationStore(records)
        assert await store.entries("ses_1") == [
            entry(0, "first"),
            entry(1, "corrected", turn_id="turn_1", interrupted=True),
        ]
        found = await store.find("ses_1")
        assert found is not None
        assert (found.user_id, found.tenant_type, found.ended_at_ms, found.lost) == ("ada", "school", 4_000, 0)
        desk.strike("item_0")
        desk.write(entry(1, "corrected again"))
        assert await scribe.flush(10)
        assert await store.entries("ses_1") == [entry(1, "corrected again")]
        assert scribe.counts()["lost"] == scribe.waiting == 0


async def test_while_the_database_is_away_notes_wait_and_the_newest_is_stored(records: Unsteady) -> None:
    async with writing(records) as scribe:
        records.away = True
        desk = scribe.desk(header())
        desk.write(entry(0, "old"))
        desk.write(entry(1))
        while not scribe.failed:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        desk.write(entry(0, "new"))
        desk.strike("item_1")
        desk.write(entry(2))
        assert scribe.waiting == 3
        records.away = False
        assert await scribe.flush(20)
        assert await ConversationStore(records).entries("ses_1") == [entry(0, "new"), entry(2)]
        assert (scribe.failed, scribe.counts()["lost"]) == (False, 0)


async def test_what_is_beyond_the_bound_is_counted_and_said_in_the_conversation(records: Unsteady) -> None:
    async with writing(records, most=5) as scribe:
        records.away = True
        desk = scribe.desk(header())
        for number in range(8):
            desk.write(entry(number))
        desk.write(entry(0, "still taken: it waits already"))
        assert (scribe.waiting, scribe.counts()["lost"]) == (5, 3)
        for number in range(20):
            scribe.desk(header(f"ses_more_{number}")).write(entry(0))
        assert scribe.waiting <= 5, "nothing grows without end"
        assert scribe.counts()["lost"] == 23
        records.away = False
        assert await scribe.flush(20)
        found = await ConversationStore(records).find("ses_1")
        assert found is not None
        assert found.lost == 3


async def test_what_was_deleted_is_not_written_to_again(records: Unsteady) -> None:
    async with writing(records) as scribe:
        desk = scribe.desk(header())
        desk.write(entry(0))
        assert await scribe.flush(10)
        desk.write(entry(1))
        scribe.forget("ses_1")
        assert await records.run_write(lambda connection: delete_conversations(connection, ["ses_1"])) == 1
        desk.write(entry(2))
        desk.end(9_000)
        assert await scribe.flush(10)
        assert await ConversationStore(records).find("ses_1") is None
        assert await ConversationStore(records).entries("ses_1") == []


async def test_what_is_left_at_the_end_is_written_or_told(records: Unsteady, caplog: pytest.LogCaptureFixture) -> None:
    scribe = Scribe(records, lambda: 5_000, 1_000)
    scribe.desk(header()).write(entry(0))
    assert await scribe.finish(10)
    assert await ConversationStore(records).entries("ses_1") == [entry(0)]
    records.away = True
    scribe.desk(header("ses_2")).write(entry(0))
    assert not await scribe.finish(10)
    assert scribe.counts()["lost"] == 1
    assert "entries of conversations could not be stored" in caplog.messages


async def test_who_reads_one_conversation_does_not_wait_for_the_others(records: Unsteady) -> None:
    async with writing(records) as scribe:
        scribe.desk(header("ses_read")).write(entry(0))
        assert await scribe.flush(10, "ses_read")
        records.away = True
        scribe.desk(header("ses_other")).write(entry(0))
        assert await scribe.flush(0, "ses_read"), "nothing of it waits"
        assert not await scribe.flush(0.01, "ses_other")
        records.away = False
        assert await scribe.flush(20, "ses_other")
