"""SIGKILL in the middle of a turn, again and again on one data directory: the ledger is exact, nothing survives.

What a client was told is complete is in the ledger once; what was running is there once, as failed; nothing else is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from real_server import RealServer, embedded_server, gone, scripted_server, turns_used
from voice_socket import Client, begun
from websockets.exceptions import ConnectionClosed

Start = Callable[[Path], AbstractContextManager[RealServer]]

SURE_MS = 500
"""Audio after which a turn has been running for some 250 ms (the server sends 240 ms ahead): by then its beginning is
on the disk. It gets there beside the conversation, never before it: a turn that is killed in its first milliseconds
may have left nothing, but never leaves two."""
LONG = "Please tell me a very long story about a wizard who lives behind the curtain and is never in a hurry."


@dataclass
class Told:
    """What clients were told, over the lives of all servers."""

    complete: list[dict[str, Any]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    killed_at_once: list[str] = field(default_factory=list)


async def turns_until_killed(server: RealServer, told: Told, whole: int, audio_ms: int) -> None:
    """``whole`` turns to their end, then one more, killed once ``audio_ms`` of its audio have come."""
    async with begun(server, binary=True) as client:
        for _ in range(whole):
            await client.say("chat.start", prompt="What is seventeen times three?")
            told.complete.append(await client.until("chat.complete", within_s=30))
    async with begun(server, binary=True, hasty=False) as client:
        await client.say("chat.start", prompt=LONG)
        started = await client.until("turn.started")
        await heard(client, audio_ms)
        (told.killed if audio_ms >= SURE_MS else told.killed_at_once).append(started["request_id"])
        server.kill()
        with anyio.fail_after(5), pytest.raises(ConnectionClosed):
            await client.listen()
    assert "chat.complete" not in client.kinds(), "the turn was over before the kill"


async def heard(client: Client, audio_ms: int) -> None:
    """Return once that much of the answer's 24 kHz audio has come."""
    with anyio.fail_after(20):
        while len(client.audio) < audio_ms * 48:
            await client.next()


def check(events: list[dict[str, Any]], told: Told) -> None:
    counted = Counter(event["request_id"] for event in events)
    for request_id in told.killed_at_once:
        assert counted.pop(request_id, 1) == 1
    assert counted == Counter([done["request_id"] for done in told.complete] + told.killed)
    by_request = {event["request_id"]: event for event in events}
    for done in told.complete:
        event = by_request[done["request_id"]]
        assert event["success"] is True
        assert (event["output_tokens"], event["audio_ms_out"]) == (
            done["usage"]["out_tokens"],
            round(done["usage"]["audio_out_s"] * 1_000),
        )
    for request_id in (request_id for request_id in told.killed + told.killed_at_once if request_id in by_request):
        event = by_request[request_id]
        assert (event["success"], event["interrupted"], event["estimated"]) == (False, True, True)
        assert event["error_code"] == "internal"
    assert len({event["event_id"] for event in events}) == len(events)


async def kill_again_and_again(start: Start, data_dir: Path, moments_ms: tuple[int, ...]) -> None:
    told = Told()
    for life, audio_ms in enumerate(moments_ms):
        with start(data_dir) as server:
            children = server.children()
            await turns_until_killed(server, told, life % 2, audio_ms)
            assert gone(children), "a child outlived the killed server"
    # Readable as it lies there: what was complete is in it, the killed turn waits for the next start.
    assert {done["request_id"] for done in told.complete} <= {e["request_id"] for e in turns_used(data_dir)}
    with start(data_dir) as server:
        check(turns_used(data_dir), told)
        assert server.terminate() == 0
    check(turns_used(data_dir), told)
    assert not any((data_dir / "journal").iterdir()), "a journal was left although the ledger has everything"


@pytest.mark.timeout(240)  # seven servers are started
async def test_a_server_killed_at_any_moment_of_a_turn_loses_and_doubles_nothing(tmp_path: Path) -> None:
    await kill_again_and_again(scripted_server, tmp_path, (500, 20, 900, 200, 1_400, 600))


@pytest.mark.engines
@pytest.mark.timeout(240)
async def test_the_engines_processes_die_with_the_server_and_the_ledger_is_whole(tmp_path: Path) -> None:
    await kill_again_and_again(embedded_server, tmp_path, (600, 1_500))


async def test_many_sessions_killed_at_once_are_each_accounted_for_once(tmp_path: Path) -> None:
    told = Told()
    with scripted_server(tmp_path) as server:
        async with anyio.create_task_group() as tasks:
            spoken = [anyio.Event() for _ in range(20)]
            for event in spoken:
                tasks.start_soon(_speak_until_killed, server, told, event)
            for event in spoken:
                await event.wait()
            server.kill()
    with scripted_server(tmp_path):
        check(turns_used(tmp_path), told)
    assert len(told.killed) == len(spoken)


async def _speak_until_killed(server: RealServer, told: Told, spoken: anyio.Event) -> None:
    async with begun(server, binary=True, hasty=False) as client:
        await client.say("chat.start", prompt=LONG)
        started = await client.until("turn.started")
        await heard(client, SURE_MS)
        told.killed.append(started["request_id"])
        spoken.set()
        with pytest.raises(ConnectionClosed):
            await client.listen()
