"""SIGTERM: the server finishes what it is saying, takes nothing new, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
import pytest
from real_server import END_LIMIT_S, RealServer, embedded_server, gone, scripted_server, turns_used
from voice_socket import Client, begun, joined
from websockets.exceptions import InvalidStatus

LONG = "Please say again, slowly and clearly, that you are a voice and that you finish what you say."


async def ended(server: RealServer) -> int:
    """The exit code, once the process is gone."""
    return await anyio.to_thread.run_sync(server.process.wait, END_LIMIT_S)


async def answering(client: Client) -> str:
    """Ask for a long answer; the turn's id, once it is being spoken."""
    await client.say("chat.start", prompt=LONG)
    started = await client.until("turn.started", within_s=30)
    while not client.audio:
        await client.next()
    return str(started["request_id"])


async def refused(server: RealServer) -> InvalidStatus:
    """How the server answers somebody new."""
    with pytest.raises(InvalidStatus) as told:
        async with joined(server.voice_url):
            pass
    return told.value


async def drain(server: RealServer) -> Client:
    """One client in the middle of an answer and an idle one, when the signal comes."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    async with begun(server, binary=True, hasty=False) as busy, begun(server) as idle:
        turn_id = await answering(busy)
        server.process.send_signal(signal.SIGTERM)
        await busy.until("session.draining")
        assert await idle.closed() == 1001
        assert idle.kinds()[-1] == "session.draining"
        response = (await refused(server)).response
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert json.loads(response.body)["error"]["code"] == "server.draining"
        done = await busy.until("chat.complete", request_id=turn_id, within_s=40)
        assert (done["interrupted"], done.get("error_code")) == (False, None)
        assert len(busy.audio) / 48_000 == pytest.approx(done["usage"]["audio_out_s"], abs=0.01)
        assert await busy.closed() == 1001
    assert await ended(server) == 0
    assert gone(children), "a child outlived the drained server"
    return busy


def check_left_behind(server: RealServer, answered: Client) -> None:
    """Nothing but the ledger and the log: no journal, no port, no complaint."""
    (event,) = turns_used(server.data_dir)
    assert event["request_id"] == answered.of("chat.complete")[0]["request_id"]
    assert (event["success"], event["interrupted"]) == (True, False)
    assert not any((server.data_dir / "journal").iterdir())
    assert not [path for path in server.data_dir.iterdir() if path.name.endswith(("-wal", "-shm"))]
    assert '"level": "error"' not in server.log.read_text()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(server.url.rpartition(":")[2]))) != 0


async def test_a_drained_server_finishes_its_answer_and_goes(tmp_path: Path) -> None:
    with scripted_server(tmp_path) as server:
        check_left_behind(server, await drain(server))


@pytest.mark.engines
async def test_a_drained_server_takes_its_engines_processes_with_it(tmp_path: Path) -> None:
    with embedded_server(tmp_path, limits__drain_grace_s=40) as server:
        check_left_behind(server, await drain(server))


async def test_an_answer_longer_than_the_grace_is_cut_and_accounted_for(tmp_path: Path) -> None:
    with scripted_server(tmp_path, limits__drain_grace_s=0.2) as server:
        async with begun(server, binary=True, hasty=False) as client:
            await answering(client)
            server.process.send_signal(signal.SIGTERM)
            assert await client.closed() == 1001
        assert await ended(server) == 0
    (event,) = turns_used(tmp_path)
    assert event["interrupted"] is True
    assert 0 < event["audio_ms_out"] < event["audio_ms_synthesized"]


async def test_a_second_signal_hurries_it(tmp_path: Path) -> None:
    with scripted_server(tmp_path, limits__drain_grace_s=300) as server:
        async with begun(server, binary=True, hasty=False) as client:
            await answering(client)
            server.process.send_signal(signal.SIGTERM)
            await client.until("session.draining")
            server.process.send_signal(signal.SIGTERM)
            await client.closed()
        assert "chat.complete" not in client.kinds()
        assert await ended(server) == 0
    (event,) = turns_used(tmp_path)
    assert event["success"] is False or event["interrupted"] is True
