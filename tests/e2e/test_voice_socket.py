"""Conversations over a real socket with the ``websockets`` client: scripted engines, everything else real."""

from __future__ import annotations

import base64
import json
import socket
import wave
from pathlib import Path

import anyio
import pytest
from voice_socket import Client, begun, joined
from websockets.exceptions import InvalidStatus

from tests.scripted_server import EchoModel, eventually, scripted_engines, served

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav"
KEY = "a-long-random-secret"


def speech() -> bytes:
    """``go forward ten meters`` and the silence after it, 16 kHz PCM16."""
    with wave.open(str(SPEECH)) as file:
        return file.readframes(file.getnframes()) + bytes(2 * 16_000)


async def speak(client: Client, *, binary: bool) -> None:
    audio = speech()
    for start in range(0, len(audio), 3_200):
        chunk = audio[start : start + 3_200]
        if binary:
            await client.ws.send(chunk)
        else:
            await client.say("voice.chunk", bytes_base64=base64.b64encode(chunk).decode())


@pytest.mark.parametrize("binary", [True, False])
async def test_real_speech_is_answered_aloud(tmp_path: Path, binary: bool) -> None:
    async with served(tmp_path) as server, begun(server, binary=binary) as client:
        await speak(client, binary=binary)
        done = await client.until("chat.complete")
        await client.say("voice.stop")
        assert await client.closed() == 1000
    assert done["text"] == "You said: Go forward ten meters.."
    assert done["usage"]["audio_out_s"] > 1
    assert len(client.audio) / 2 / 24_000 == pytest.approx(done["usage"]["audio_out_s"], abs=0.01)
    order = ["vad.speech_started", "vad.speech_stopped", "transcript.final", "turn.started", "chat.token"]
    order += ["turn.latency", "voice.audio.done", "chat.complete"]
    positions = [client.kinds().index(kind) for kind in order]
    assert positions == sorted(positions)
    assert len(server.application.host.registry) == 0


@pytest.mark.parametrize(
    ("codec", "rate"),
    [("pcm16", 8_000), ("pcm16", 48_000), ("g711_ulaw", 8_000), ("g711_alaw", 8_000), ("opus", 48_000)],
)
async def test_every_output_codec_carries_the_answer(tmp_path: Path, codec: str, rate: int) -> None:
    output = {"codec": codec, "sample_rate": rate}
    async with served(tmp_path) as server, begun(server, binary=True, output=output) as client:
        await client.say("chat.start", prompt="hello there", request_id="turn-1")
        done = await client.until("chat.complete")
    assert done["request_id"] == "turn-1"
    assert len(client.audio) > 1_000
    assert next(m for m in client.messages if m["type"] == "session.started")["output"] == {
        "codec": codec,
        "sample_rate": rate,
    }


async def test_text_only_is_not_spoken(tmp_path: Path) -> None:
    async with served(tmp_path) as server, begun(server, output={"modalities": ["text"]}) as client:
        await client.say("chat.start", prompt="hello")
        await client.until("chat.complete")
    assert client.audio == b""
    assert "chat.token" in client.kinds()


async def test_cancel_stops_the_answer(tmp_path: Path) -> None:
    gate = anyio.Event()
    async with served(tmp_path, scripted_engines(EchoModel(gate))) as server, begun(server, binary=True) as client:
        await client.say("chat.start", prompt="hello")
        await client.until("chat.token")
        await client.say("voice.cancel")
        assert (await client.until("chat.complete"))["interrupted"] is True


async def test_the_chat_socket_answers_in_writing(tmp_path: Path) -> None:
    async with served(tmp_path) as server, joined(server.chat_url) as client:
        await client.say("chat.start", prompt="one", request_id="a")
        assert (await client.until("chat.complete"))["text"] == "You said: one."
        await client.say("chat.start", prompt="two", request_id="b")
        assert (await client.until("chat.complete"))["request_id"] == "b"
        await client.say("voice.start")
        await client.until("error")
    assert client.audio == b""
    assert client.kinds()[0] == "session.started"


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "[]",
        '"x"',
        "null",
        '{"type": 1}',
        '{"type": "no.such"}',
        '{"type": "chat.start"}',
        b"\x00",
        "\ud7ff" * 9,
    ],
)
async def test_garbage_is_answered_with_an_error_and_the_session_goes_on(tmp_path: Path, frame: str | bytes) -> None:
    async with served(tmp_path) as server, begun(server) as client:
        await client.ws.send(frame)
        assert (await client.until("error"))["code"] == "request.invalid"
        await client.say("chat.start", prompt="still there?")
        await client.until("chat.complete")


async def test_garbage_without_end_ends_the_connection(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"max_bad_messages": 5}) as server, begun(server) as client:
        for _ in range(5):
            await client.ws.send("garbage")
        assert await client.closed() == 4400
        assert client.kinds().count("error") == 5


async def test_audio_that_is_not_the_format_is_told_and_then_ends_the_session(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"max_bad_messages": 3}) as server, begun(server, binary=True) as client:
        for _ in range(3):
            await client.ws.send(b"odd")
        assert await client.closed() == 4400


async def test_a_huge_message_ends_the_connection(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"max_message_bytes": 8_192}) as server, begun(server) as client:
        await client.ws.send("x" * 8_300)
        assert await client.closed() == 4413


async def test_garbage_before_the_session_is_forgiven(tmp_path: Path) -> None:
    async with served(tmp_path) as server, joined(server.voice_url) as client:
        await client.ws.send("garbage")
        await client.until("error")
        await client.say("voice.start", codec="g711_ulaw", sample_rate=44_100)
        assert (await client.until("error"))["code"] == "request.invalid"
        await client.say("voice.start")
        await client.until("session.started")


async def test_a_client_that_says_nothing_is_sent_away(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"handshake_timeout_s": 0.1}) as server, joined(server.voice_url) as client:
        assert await client.closed() == 4400


async def test_a_lost_client_comes_back_and_misses_nothing(tmp_path: Path) -> None:
    gate = anyio.Event()
    async with served(tmp_path, scripted_engines(EchoModel(gate))) as server:
        async with begun(server, binary=True) as client:
            await client.say("chat.start", prompt="hello")
            await client.until("chat.token")
            client.ws.transport.abort()
        gate.set()
        async with joined(server.voice_url) as again:
            again.last_event_id = client.last_event_id
            session_id = client.messages[0]["session_id"]
            await again.say("session.resume", session_id=session_id, last_event_id=client.last_event_id)
            resumed = await again.until("session.resumed")
            assert resumed["missed_events"] == 0
            done = await again.until("chat.complete")
            await again.say("chat.start", prompt="and now?")
            await again.until("chat.complete")
    assert done["text"] == "You said: hello."
    assert len(again.audio) > 24_000


async def test_a_session_that_is_resumed_elsewhere_leaves_the_old_connection(tmp_path: Path) -> None:
    async with served(tmp_path) as server, begun(server) as client, joined(server.voice_url) as again:
        again.last_event_id = client.last_event_id
        session_id = client.messages[0]["session_id"]
        await again.say("session.resume", session_id=session_id, last_event_id=client.last_event_id)
        await again.until("session.resumed")
        assert await client.closed() == 1001
        await again.say("chat.start", prompt="here")
        await again.until("chat.complete")


async def test_an_unknown_session_and_an_ended_one_are_told_apart(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        async with begun(server) as client:
            await client.say("voice.stop")
            await client.closed()
        for session_id, code, close_code in (
            ("ses_never", "session.not_found", 4404),
            (client.messages[0]["session_id"], "session.expired", 4410),
        ):
            async with joined(server.voice_url) as again:
                await again.say("session.resume", session_id=session_id, last_event_id=0)
                assert (await again.until("error"))["code"] == code
                assert await again.closed() == close_code


async def test_a_client_that_closes_normally_ends_its_session(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        async with begun(server):
            assert len(server.application.host.registry) == 1
        await eventually(lambda: not len(server.application.host.registry))


async def test_a_full_server_refuses_programs_with_retry_after_and_tells_pages(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"max_sessions": 1}) as server, begun(server) as running:
        with pytest.raises(InvalidStatus) as refused:
            await begun(server).__aenter__()
        response = refused.value.response
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert json.loads(response.body)["error"]["code"] == "server.overloaded"
        async with joined(server.voice_url, origin=server.url) as page:
            await page.say("voice.start")
            error = await page.until("error")
            assert (error["code"], error["details"]["retry_after_s"]) == ("server.overloaded", 5.0)
            assert await page.closed() == 4503
        await running.say("chat.start", prompt="unharmed?")
        await running.until("chat.complete")


async def test_draining_lets_a_turn_finish_and_then_leaves(tmp_path: Path) -> None:
    gate = anyio.Event()
    async with (
        served(tmp_path, scripted_engines(EchoModel(gate))) as server,
        begun(server, output={"modalities": ["text"]}) as busy,
        begun(server) as idle,
    ):
        await busy.say("chat.start", prompt="hello")
        await busy.until("chat.token")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.application.drain)
            assert await idle.closed() == 1001
            await busy.until("session.draining")
            gate.set()
            assert (await busy.until("chat.complete"))["text"] == "You said: hello."
            assert await busy.closed() == 1001
        with pytest.raises(InvalidStatus):
            await begun(server).__aenter__()


async def test_a_client_that_does_not_read_is_cut_and_others_are_unharmed(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"send_timeout_s": 0.2}) as server, begun(server) as other:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        small.connect(("127.0.0.1", server.server.port))
        small.setblocking(False)
        async with joined(server.voice_url, sock=small, max_queue=1) as deaf:
            await deaf.say("voice.start")
            await deaf.until("session.started")
            deaf.ws.transport.pause_reading()
            with anyio.fail_after(30):
                while b'reason="slow_reader"' not in server.application.metrics.render()[0]:
                    await deaf.say("chat.start", prompt="z" * 30_000)
                    await anyio.sleep(0.02)
            deaf.ws.transport.abort()
        await other.say("chat.start", prompt="still there?")
        await other.until("chat.complete")


async def test_pages_of_other_origins_and_strangers_do_not_get_in(tmp_path: Path) -> None:
    async with served(tmp_path, api_keys=(KEY,), allowed_origins=("https://app.example",)) as server:
        for options in (
            {"origin": "https://evil.example", "additional_headers": {"Authorization": f"Bearer {KEY}"}},
            {},
            {"additional_headers": {"Authorization": "Bearer wrong"}},
        ):
            with pytest.raises(InvalidStatus):
                await joined(server.voice_url, **options).__aenter__()
        subprotocols = ["convergio.v1", f"convergio.key.{KEY}"]
        async with joined(server.voice_url, origin="https://app.example", subprotocols=subprotocols) as client:
            assert client.ws.subprotocol == "convergio.v1"
            await client.say("voice.start")
            await client.until("session.started")


async def test_an_engine_that_loads_forever_is_told_to_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.host.LOADING_WAIT_S", 0.05)
    async with served(tmp_path, scripted_engines(loaded=False)) as server, joined(server.voice_url) as client:
        await client.say("voice.start")
        assert (await client.until("error"))["code"] == "server.overloaded"
        assert await client.closed() == 4503
