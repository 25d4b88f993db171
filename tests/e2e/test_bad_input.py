"""Input no server should have to take, over a real socket: a stable error code or a graceful end, and no harm done."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import psutil
import pytest
from real_server import RealServer
from resilience import WIRE, resilient
from spoken import clip, encoded, quiet, said
from voice_socket import Client, begun, joined

from audio.formats import AudioFormat, Encoding, Samples
from audio.vad.chain import make_detector
from audio.vad.silero import SileroModel
from tests.scripted_server import scripted_engines

OPUS = AudioFormat(Encoding.OPUS, 48_000)
DEEP = "[" * 30_000
DEEP_FIELD = '{"type":"chat.start","prompt":' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}"
MEGABYTE = 1_024 * 1_024


async def goes_on(client: Client) -> None:
    """The same session answers."""
    await client.say("chat.start", prompt="still there?")
    assert (await client.until("chat.complete"))["text"] == "You said: still there?."


async def complains(client: Client, code: str = "request.invalid") -> dict[str, Any]:
    """The next error is this one, and says something to people."""
    error = await client.until("error")
    assert error["code"] == code
    assert error["message"].endswith(".")
    return error


# --- messages ---


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("not JSON", id="garbage text"),
        pytest.param("", id="empty text"),
        pytest.param(b"\x00\xff\x13", id="garbage bytes in a JSON session"),
        pytest.param(b"", id="empty bytes in a JSON session"),
        pytest.param(DEEP, id="deep JSON"),
        pytest.param(DEEP_FIELD, id="a deep field"),
        pytest.param('{"type":"voice.start"}', id="a second start"),
        pytest.param('{"type":"session.resume","session_id":"ses_x","last_event_id":0}', id="resume inside a session"),
        pytest.param('{"type":"voice.teleport"}', id="an unknown type"),
        pytest.param('{"type":["voice.start"]}', id="a type that is no string"),
        pytest.param('{"type":"voice.chunk","bytes_base64":"%%%"}', id="bad base64"),
        pytest.param('{"type":"voice.chunk","bytes_base64":17}', id="audio that is a number"),
        pytest.param('{"type":"voice.chunk","bytes_base64":"AAAA"}', id="odd bytes of PCM"),
        pytest.param('{"type":"voice.played","audio_ms":NaN}', id="not a number"),
        pytest.param('{"type":"voice.played","audio_ms":-1}', id="negative time"),
        pytest.param('{"type":"voice.played","audio_ms":' + "9" * 5_000 + "}", id="an astronomic number"),
        pytest.param('{"type":"voice.update","output":{"rate":9}}', id="a rate nobody can speak at"),
        pytest.param('{"type":"chat.start","prompt":""}', id="an empty prompt"),
        pytest.param('{"type":"chat.start","prompt":"\\ud83d"}', id="half a character"),
        pytest.param('{"type":"chat.start","prompt":"x","agent_id":"nobody"}', id="an agent that does not exist"),
    ],
)
async def test_a_bad_message_is_named_and_the_session_goes_on(tmp_path: Path, frame: str | bytes) -> None:
    async with resilient(tmp_path) as server, begun(server) as client:
        await client.ws.send(frame)
        await complains(client)
        await goes_on(client)


@pytest.mark.parametrize(
    "wish",
    [
        pytest.param({"codec": "mp3"}, id="an unknown codec"),
        pytest.param({"sample_rate": 44_100}, id="a rate nobody speaks"),
        pytest.param({"codec": "g711_ulaw", "sample_rate": 16_000}, id="G.711 at 16 kHz"),
        pytest.param({"codec": "opus", "sample_rate": 16_000}, id="Opus at 16 kHz"),
        pytest.param({"output": {"codec": "flac"}}, id="an unknown output codec"),
        pytest.param({"output": {"codec": "g711_alaw", "sample_rate": 48_000}}, id="G.711 out at 48 kHz"),
        pytest.param({"locale": "../../etc"}, id="a locale that is none"),
        pytest.param({"turn_detection": {"min_wait_ms": 900, "max_wait_ms": 100}}, id="waits out of order"),
    ],
)
async def test_a_start_that_asks_for_the_impossible_may_be_mended(tmp_path: Path, wish: dict[str, Any]) -> None:
    async with resilient(tmp_path) as server, joined(server.voice_url) as client:
        await client.say("voice.start", **wish)
        await complains(client)
        await client.say("voice.start")
        await client.until("session.started")
        await goes_on(client)


@pytest.mark.parametrize("message", ["voice.chunk", "voice.commit", "voice.cancel", "voice.stop", "chat.start"])
async def test_what_comes_before_the_start_is_refused_and_the_start_still_works(tmp_path: Path, message: str) -> None:
    more = {"bytes_base64": "AAAA", "prompt": "hello"}
    async with resilient(tmp_path) as server, joined(server.voice_url) as client:
        await client.ws.send(json.dumps({"type": message} | more))
        await complains(client)
        await client.say("voice.start")
        await client.until("session.started")
        await goes_on(client)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("x" * MEGABYTE, id="a megabyte of text"),
        pytest.param(bytes(MEGABYTE), id="a megabyte of bytes"),
        pytest.param(['{"type":"'] + ["x" * 100_000] * 20, id="two megabytes in fragments"),
    ],
)
@pytest.mark.parametrize("started", [True, False])
async def test_a_huge_frame_ends_the_connection_with_the_contracts_code(
    tmp_path: Path, frame: Any, started: bool
) -> None:
    async with resilient(tmp_path) as server, joined(server.voice_url) as client:
        if started:
            await client.say("voice.start", binary=True)
            await client.until("session.started")
        await send_in_spite(client, frame)
        assert await client.closed() == 4413


async def send_in_spite(client: Client, frame: Any) -> None:
    """Send as much of it as the server lets through."""
    try:
        await client.ws.send(frame)
    except OSError:
        return


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param('{"type":"chat.start","prompt":"' + "x" * 70_000 + '"}', id="a prompt of 70 KB"),
        pytest.param('{"type":"voice.chunk","bytes_base64":"' + "A" * 262_200 + '"}', id="a chunk just too large"),
    ],
)
async def test_a_message_beyond_its_limit_is_named_before_the_end(tmp_path: Path, frame: str) -> None:
    async with resilient(tmp_path) as server, begun(server) as client:
        await client.ws.send(frame)
        await complains(client, "request.too_large")
        assert await client.closed() == 4413


async def test_text_that_is_not_utf8_ends_the_connection(tmp_path: Path) -> None:
    async with resilient(tmp_path) as server, begun(server) as client:
        await client.ws.send(b'{"type":"\xff"}', text=True)
        assert await client.closed() == 1007


async def test_twenty_bad_messages_in_a_row_end_the_connection_and_nineteen_do_not(tmp_path: Path) -> None:
    async with resilient(tmp_path) as server, begun(server) as client:
        for _ in range(2):
            for _ in range(19):
                await client.say("voice.teleport")
            await goes_on(client)
        for _ in range(20):
            await client.say("voice.teleport")
        assert await client.closed() == 4400
    assert client.kinds().count("error") == 58


# --- audio ---


def start(wire: AudioFormat) -> dict[str, Any]:
    return {"codec": wire.encoding, "sample_rate": wire.sample_rate_hz, "binary": True}


@pytest.mark.parametrize(
    ("wire", "payload"),
    [
        pytest.param(WIRE, b"odd", id="odd bytes of PCM"),
        pytest.param(WIRE, bytes(200_000), id="six seconds in one frame"),
        pytest.param(OPUS, b"\xff", id="an Opus packet without its count"),
        pytest.param(OPUS, b"\xff\xff\xff\xff", id="an Opus packet that lies"),
        pytest.param(OPUS, bytes(6_000), id="PCM called Opus"),
    ],
)
async def test_audio_that_is_not_what_was_agreed_is_named_and_twenty_times_is_too_often(
    tmp_path: Path, wire: AudioFormat, payload: bytes
) -> None:
    async with resilient(tmp_path) as server, begun(server, **start(wire)) as client:
        await client.ws.send(payload)
        await complains(client)
        await client.send_audio(encoded(said("goforward", 1.0), wire, 20))
        await client.until("chat.complete")
        for _ in range(20):
            await client.ws.send(payload)
        assert await client.closed() == 4400


async def test_empty_audio_is_no_audio(tmp_path: Path) -> None:
    async with resilient(tmp_path) as server, begun(server, binary=True) as client:
        for payload in encoded(said("goforward", 1.0), WIRE):
            await client.ws.send(b"")
            await client.ws.send(payload)
        assert (await client.until("chat.complete"))["text"] == "You said: Go forward ten meters.."
    assert "error" not in client.kinds()


async def test_random_opus_packets_between_good_ones_never_break_the_stream(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    async with resilient(tmp_path) as server, begun(server, **start(OPUS)) as client:
        for payload in encoded(said("goforward", 0.5), OPUS, 20):
            await client.ws.send(payload)
            await client.ws.send(random.bytes(random.integers(1, 400)))
        await goes_on(client)
    assert {error["code"] for error in client.of("error")} == {"request.invalid"}


async def test_speech_called_by_another_codecs_name_is_noise_and_harms_nobody(tmp_path: Path) -> None:
    ulaw = AudioFormat(Encoding.G711_ULAW, 8_000)
    async with resilient(tmp_path) as server, begun(server, **start(ulaw)) as client:
        await client.send_audio(encoded(said("goforward"), WIRE))
        await goes_on(client)


@pytest.mark.engines
@pytest.mark.parametrize("level", [0, 10, 100, 1_000, 4_000, 12_000])
async def test_ten_seconds_of_silence_or_noise_are_no_turn(tmp_path: Path, level: int) -> None:
    pytest.importorskip("onnxruntime", reason="the voice activity model needs onnxruntime (extra: embedded)")
    engines = scripted_engines()
    engines.make_detector = partial(make_detector, silero=SileroModel().stream)
    async with resilient(tmp_path, engines) as server, begun(server, binary=True) as client:
        await client.send_audio(encoded(quiet(10.0, level), WIRE))
        await goes_on(client)
    assert [turn["source"] for turn in client.of("turn.started")] == ["text"]
    assert "transcript.final" not in client.kinds()


@pytest.mark.engines
@pytest.mark.parametrize("level", [0, 300, 4_000])
async def test_the_real_engines_make_no_words_of_silence_or_noise(embedded: RealServer, level: int) -> None:
    async with begun(embedded, binary=True) as client:
        await client.send_audio(encoded(quiet(10.0, level), WIRE))
        await client.say("chat.start", prompt="What is seventeen times three?")
        await client.until("chat.complete", within_s=30)
    assert [turn["source"] for turn in client.of("turn.started")] == ["text"]
    assert not {"transcript.partial", "transcript.final"} & set(client.kinds())


@pytest.mark.parametrize("level", [0, 10, 100])
async def test_a_quiet_room_is_no_turn_even_for_the_gate_alone(tmp_path: Path, level: int) -> None:
    async with resilient(tmp_path) as server, begun(server, binary=True) as client:
        await client.send_audio(encoded(quiet(10.0, level), WIRE))
        await goes_on(client)
    assert [turn["source"] for turn in client.of("turn.started")] == ["text"]


async def test_noise_that_the_gate_takes_for_speech_is_answered_or_not_but_never_harmful(tmp_path: Path) -> None:
    async with resilient(tmp_path) as server, begun(server, binary=True) as client:
        await client.send_audio(encoded(quiet(10.0, 12_000), WIRE))
        await goes_on(client)
    assert "error" not in client.kinds()


# --- the monologue ---


def monologue(minutes: int) -> Iterator[Samples]:
    """Human speech without an end, clip after clip."""
    names = ("librivox_0870", "librivox_0890", "mfa_61-70968-0000", "arctic_a0007")
    left = minutes * 60 * 16_000
    while left:
        for name in names:
            piece = clip(name)[:left]
            left -= len(piece)
            yield piece


@asynccontextmanager
async def reading(client: Client, **until: Any) -> AsyncGenerator[None]:
    """Take in what comes while the body speaks, until the ``chat.complete`` with these fields."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(client.until, "chat.complete", within_s=50, **until))
        yield


async def test_a_monologue_of_ten_minutes_is_one_turn_where_only_the_speaker_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.sessions.intake.MAX_SPEED", 10_000)
    detection = {"type": "push_to_talk"}
    async with resilient(tmp_path) as server, begun(server, binary=True, turn_detection=detection) as client:
        before = psutil.Process().memory_info().rss
        async with reading(client):
            for piece in monologue(10):
                await client.send_audio(encoded(piece, WIRE))
            await client.say("voice.commit")
        assert psutil.Process().memory_info().rss - before < 15_000_000, "it keeps what it heard"
    (done,) = client.of("chat.complete")
    assert done["usage"]["audio_in_s"] == pytest.approx(600, abs=2)
    assert len(client.of("turn.started")) == 1


async def test_a_monologue_of_ten_minutes_is_answered_at_its_pauses_and_every_turn_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.sessions.intake.MAX_SPEED", 10_000)
    async with (
        resilient(tmp_path) as server,
        begun(server, binary=True) as client,
        reading(client, request_id="the-end"),
    ):
        for piece in monologue(10):
            await client.send_audio(encoded(piece, WIRE))
        await client.say("chat.start", prompt="still there?", request_id="the-end")
    begun_turns = [turn["request_id"] for turn in client.of("turn.started")]
    assert begun_turns[-1] == "the-end"
    assert sorted(begun_turns) == sorted(done["request_id"] for done in client.of("chat.complete"))
    assert sum(done["usage"]["audio_in_s"] for done in client.of("chat.complete")) <= 600
    assert "error" not in client.kinds()
