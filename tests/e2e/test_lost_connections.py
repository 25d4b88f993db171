"""Connections that break, stall, or come all at once: nothing is lost, nothing comes twice, nobody else is harmed."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from resilience import WIRE, footprint, resilient
from spoken import encoded, said
from voice_socket import Client, begun, joined, resume
from websockets.exceptions import InvalidStatus

from metering.ledger import UsageQuery, read_all
from metering.sqlite_ledger import SqliteLedger
from metering.usage import UsageEvent
from server.settings import Settings
from tests.scripted_server import EchoModel, Served, eventually, scripted_engines, served

CROWD = 1_000
PLACES = 100
PROMPT = "the wizard had vanished behind the curtain on the left"


def ledger(settings: Settings) -> list[UsageEvent]:
    book = SqliteLedger(settings.ledger_path)
    try:
        return list(read_all(book, UsageQuery()))
    finally:
        book.close()


# --- lost, and found again ---


async def whole_answer(server: Served, **start: Any) -> bytes:
    """The answer to the prompt over a connection that holds."""
    async with begun(server, **start) as client:
        await client.say("chat.start", prompt=PROMPT)
        await client.until("chat.complete")
    return client.audio


async def test_a_sentence_cut_by_a_lost_connection_is_heard_to_its_end(tmp_path: Path) -> None:
    payloads = list(encoded(said("goforward", 1.0), WIRE))
    async with resilient(tmp_path, limits={"resume_window_s": 5}) as server:
        async with begun(server, binary=True) as before:
            await before.send_audio(payloads[:12])
            await before.until("vad.speech_started")
            before.ws.transport.abort()
        async with joined(server.voice_url) as after:
            assert (await resume(after, before))["missed_events"] == 0
            await after.send_audio(payloads[12:])
            done = await after.until("chat.complete")
            await after.say("voice.stop")
            await after.closed()
    assert done["text"] == "You said: Go forward ten meters.."
    kinds = before.kinds() + after.kinds()
    for kind in ("vad.speech_started", "vad.speech_stopped", "transcript.final", "turn.started", "chat.complete"):
        assert kinds.count(kind) == 1, kind
    assert len(before.audio + after.audio) / 48_000 == pytest.approx(done["usage"]["audio_out_s"], abs=0.01)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("payloads", [1, 4, 9])
async def test_an_answer_cut_by_a_lost_connection_goes_on_where_it_was(
    tmp_path: Path, binary: bool, payloads: int
) -> None:
    async with resilient(tmp_path, limits={"resume_window_s": 5}) as server:
        expected = await whole_answer(server, binary=binary)
        async with begun(server, binary=binary, hasty=False) as before:
            await before.say("chat.start", prompt=PROMPT)
            while len(before.payloads) < payloads:
                await before.next()
            before.ws.transport.abort()
        async with joined(server.voice_url) as after:
            assert (await resume(after, before))["missed_events"] == 0
            done = await after.until("chat.complete")
            await after.say("voice.stop")
            await after.closed()
    assert before.audio + after.audio == expected
    assert done["interrupted"] is False
    texts = [token["text"] for client in (before, after) for token in client.of("chat.token")]
    assert "".join(texts) == done["text"]


async def test_a_connection_lost_again_and_again_still_delivers_everything_once(tmp_path: Path) -> None:
    async with resilient(tmp_path, limits={"resume_window_s": 5}) as server:
        expected = await whole_answer(server, binary=True)
        async with begun(server, binary=True, hasty=False) as client:
            await client.say("chat.start", prompt=PROMPT)
            await client.until("voice.audio")
            client.ws.transport.abort()
        heard = client.audio
        for _ in range(6):
            before = client
            async with joined(server.voice_url) as client:
                client.last_event_id = before.last_event_id
                client.messages = before.messages[:1]
                assert (await resume(client, before))["missed_events"] == 0
                while not client.payloads:
                    await client.next()
                client.ws.transport.abort()
            heard += client.audio
        async with joined(server.voice_url) as last:
            await resume(last, client)
            await last.until("chat.complete")
            await last.say("voice.stop")
            await last.closed()
    assert heard + last.audio == expected


async def test_what_was_too_much_to_keep_is_said_to_be_missing(tmp_path: Path) -> None:
    limits = {"resume_window_s": 5, "replay_buffer_bytes": 10_000}
    async with resilient(tmp_path, limits=limits) as server:
        async with begun(server, binary=True) as before:
            await before.say("chat.start", prompt=PROMPT)
            await before.until("turn.started")
            before.ws.transport.abort()
        live = server.application.host.registry._live[before.session_id]
        await eventually(lambda: live.delivery.replay.dropped > 3)
        async with joined(server.voice_url) as after:
            resumed = await resume(after, before)
            assert resumed["event_id"] == before.last_event_id + resumed["missed_events"]
            assert resumed["missed_events"] > 0
            await after.until("chat.complete")
            await after.say("voice.stop")
            await after.closed()


# --- lost for good ---


async def test_a_client_that_never_comes_back_is_forgotten_and_its_turn_accounted_for(tmp_path: Path) -> None:
    gate = anyio.Event()
    async with served(tmp_path, scripted_engines(EchoModel(gate)), limits={"resume_window_s": 0.1}) as server:
        async with begun(server, binary=True) as client:
            await client.say("chat.start", prompt=PROMPT, request_id="unfinished")
            await client.until("chat.token")
            client.ws.transport.abort()
        await eventually(lambda: not len(server.application.host.registry))
        async with joined(server.voice_url) as late:
            await late.say("session.resume", session_id=client.session_id, last_event_id=client.last_event_id)
            assert (await late.until("error"))["code"] == "session.expired"
            assert await late.closed() == 4410
        (event,) = ledger(server.application.settings)
        assert (event.request_id, event.interrupted) == ("unfinished", True)


async def test_clients_that_vanish_in_every_state_leave_nothing(tmp_path: Path) -> None:
    async with resilient(tmp_path) as server:
        for last_words in (None, "voice.start", "chat.start"):
            async with joined(server.voice_url) as client:
                for kind in ("voice.start", "chat.start"):
                    if last_words is not None:
                        await client.say(kind, prompt=PROMPT)
                    if kind == last_words:
                        break
                client.ws.transport.abort()
        with socket.create_connection(("127.0.0.1", server.server.port)) as half:
            half.send(b"GET /v1/voice/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: webso")


# --- too slow ---


async def test_a_client_that_stops_reading_finds_out_why_when_it_reads_again(tmp_path: Path) -> None:
    async with resilient(tmp_path, limits={"send_timeout_s": 0.2}) as server:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        small.connect(("127.0.0.1", server.server.port))
        small.setblocking(False)
        async with joined(server.voice_url, sock=small, max_queue=1, close_timeout=0.5) as deaf:
            await deaf.say("voice.start")
            await deaf.until("session.started")
            deaf.ws.transport.pause_reading()
            with anyio.fail_after(20):
                while b'reason="slow_reader"' not in server.application.metrics.render()[0]:
                    await deaf.say("chat.start", prompt="z" * 30_000)
                    await anyio.sleep(0.02)
            deaf.ws.transport.resume_reading()
            assert await deaf.closed() == 4429


# --- too many ---


async def visit(server: Served, outcomes: Counter[str], everybody: anyio.Event, origin: str | None) -> None:
    """One of the crowd: what became of it. Who got in talks once everybody has tried."""
    try:
        async with joined(server.voice_url, origin=origin, open_timeout=30, ping_interval=None) as client:
            await client.say("voice.start", output={"modalities": ["text"]})
            first = await opening(client)
            outcomes[first["type"] if first["type"] == "session.started" else first["code"]] += 1
            if first["type"] == "error":
                assert first["retryable"]
                assert first["details"]["retry_after_s"] > 0
                assert await client.closed(30) == 4503
                return
            await everybody.wait()
            await client.say("chat.start", prompt="in")
            assert (await client.until("chat.complete", within_s=30))["text"] == "You said: in."
            await client.say("voice.stop")
            assert await client.closed(30) == 1000
    except InvalidStatus as refused:
        response = refused.response
        known = (response.status_code, response.headers.get("retry-after")) == (503, "5")
        outcomes[json.loads(response.body)["error"]["code"] if known else f"unexpected: {response}"] += 1


async def opening(client: Client) -> dict[str, Any]:
    """``session.started``, or the error instead of it."""
    with anyio.fail_after(30):
        while True:
            message = await client.next()
            if message is not None and message["type"] in {"session.started", "error"}:
                return message


@pytest.mark.timeout(100)
async def test_of_a_thousand_clients_at_once_a_hundred_are_served_and_the_others_told_why(tmp_path: Path) -> None:
    async with resilient(tmp_path, limits={"max_sessions": PLACES}) as server:
        outcomes: Counter[str] = Counter()
        everybody = anyio.Event()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for number in range(CROWD):
                    tasks.start_soon(visit, server, outcomes, everybody, server.url if number % 2 else None)
                await eventually(lambda: outcomes.total() == CROWD, 45)
                assert footprint(server).sessions == PLACES
                everybody.set()
        assert outcomes == Counter({"session.started": PLACES, "server.overloaded": CROWD - PLACES})
