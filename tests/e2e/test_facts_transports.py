"""What went over the wire is what the events say, to the sample: sockets, realtime, WebRTC, cut and killed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from real_server import scripted_server, usage_events
from realtime_client import realtime, speech_24k
from rtc_caller import call
from spoken import encoded, said
from voice_socket import Client, begun, joined, resume
from websockets.exceptions import ConnectionClosed

from agents.core.sound_meter import ticks
from agents.errors import ModelTimeout
from audio.formats import AudioFormat, Encoding, Samples
from metering.ledger import UsageQuery, is_unclaimed, read_all
from metering.sqlite_ledger import SqliteLedger
from metering.usage import UsageEvent
from server.settings import Settings
from server.transports.calls import Call
from server.transports.connection import Connection
from tests.scripted_server import EchoModel, eventually, scripted_engines, served

PROMPT = "the wizard had vanished behind the curtain on the left"


def ledger(settings: Settings) -> list[UsageEvent]:
    book = SqliteLedger(settings.ledger_path)
    try:
        return list(read_all(book, UsageQuery()))
    finally:
        book.close()


def received(events: Sequence[UsageEvent]) -> int:
    return sum(event.audio_ticks_received for event in events)


def sent(events: Sequence[UsageEvent]) -> int:
    return sum(event.audio_ticks_sent for event in events)


def check(events: Sequence[UsageEvent], received_ticks: int, sent_ticks: int) -> None:
    assert (received(events), sent(events)) == (received_ticks, sent_ticks)
    assert sum(event.audio_ms_received for event in events) == received_ticks // 48
    assert sum(event.audio_ms_sent for event in events) == sent_ticks // 48
    assert len({event.request_id for event in events}) == len(events)


def length(audio: bytes, audio_format: AudioFormat) -> int:
    """Of PCM or G.711, in ticks."""
    sample_bytes = 2 if audio_format.encoding is Encoding.PCM16 else 1
    return ticks(len(audio) // sample_bytes, audio_format.sample_rate_hz)


FORMATS = [
    AudioFormat(Encoding.PCM16, 8_000),
    AudioFormat(Encoding.PCM16, 16_000),
    AudioFormat(Encoding.PCM16, 24_000),
    AudioFormat(Encoding.PCM16, 48_000),
    AudioFormat(Encoding.G711_ULAW, 8_000),
    AudioFormat(Encoding.G711_ALAW, 8_000),
]


@pytest.mark.parametrize("wire", FORMATS, ids=lambda wire: f"{wire.encoding}-{wire.sample_rate_hz}")
async def test_a_conversation_over_a_socket_is_counted_as_its_client_counts_it(
    tmp_path: Path, wire: AudioFormat
) -> None:
    output = {"codec": wire.encoding.value, "sample_rate": wire.sample_rate_hz}
    before, after = list(encoded(said("goforward", 1.0), wire)), [bytes(101 * 2), bytes(57 * 2)]
    async with served(tmp_path) as server:
        async with begun(
            server, binary=True, codec=wire.encoding.value, sample_rate=wire.sample_rate_hz, output=output
        ) as client:
            await client.send_audio(before)
            await client.until("chat.complete")
            await client.send_audio(after)
            await client.say("voice.stop")
            await client.closed()
        events = ledger(server.application.settings)
    check(events, length(b"".join([*before, *after]), wire), length(client.audio, wire))
    turn, *closing = events
    assert turn.audio_ms_speech > 500
    assert turn.audio_ms_sent >= turn.audio_ms_out > 1_000
    assert [is_unclaimed(event) for event in closing] == [True]


async def test_opus_is_counted_as_it_is_decoded_and_as_its_packets_are_sent(tmp_path: Path) -> None:
    wire = AudioFormat(Encoding.OPUS, 48_000)
    packets = list(encoded(said("goforward", 1.0), wire))
    output = {"codec": "opus", "sample_rate": 48_000}
    async with served(tmp_path) as server:
        async with begun(server, binary=True, codec="opus", sample_rate=48_000, output=output) as client:
            await client.send_audio(packets)
            await client.until("chat.complete")
            await client.say("voice.stop")
            await client.closed()
        events = ledger(server.application.settings)
    assert received(events) == len(packets) * 960
    assert 0 <= len(client.payloads) * 960 - sent(events) <= 960  # the encoder is flushed with silence


async def test_cancelled_failed_and_interrupted_answers_are_counted_as_far_as_they_went(tmp_path: Path) -> None:
    gate = anyio.Event()
    wire = AudioFormat(Encoding.PCM16, 24_000)
    async with served(tmp_path, scripted_engines(EchoModel(gate))) as server:
        async with begun(server, binary=True, hasty=False) as client:
            await client.say("chat.start", prompt=PROMPT)
            await client.until("chat.token")
            gate.set()
            while len(client.payloads) < 3:
                await client.next()
            await client.say("voice.cancel")
            assert (await client.until("chat.complete"))["interrupted"]
            await client.say("chat.start", prompt=PROMPT)
            await client.until("voice.audio.done", within_s=30)
            await client.say("voice.stop")
            await client.closed()
        events = ledger(server.application.settings)
    check(events, 0, length(client.audio, wire))
    assert events[0].interrupted
    failing = scripted_engines(EchoModel(error=ModelTimeout("late", provider="scripted")))
    async with served(tmp_path / "failing", failing) as server:
        async with begun(server, binary=True) as client:
            await client.send_audio([bytes(3_200)] * 3)
            await client.say("chat.start", prompt=PROMPT)
            await client.until("chat.complete")
            await client.say("voice.stop")
            await client.closed()
        events = ledger(server.application.settings)
    wire = AudioFormat(Encoding.PCM16, 16_000)
    check(events, length(bytes(9_600), wire), length(client.audio, AudioFormat(Encoding.PCM16, 24_000)))
    assert (events[0].success, events[0].error_code) == (False, "provider.timeout")


async def test_whoever_disconnects_in_the_middle_of_a_word_is_counted_to_the_last_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over: list[bytes] = []
    real = Connection.send

    async def send(self: Connection, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            handed_over.append(frame)
        await real(self, frame)

    monkeypatch.setattr(Connection, "send", send)
    wire = AudioFormat(Encoding.PCM16, 16_000)
    payloads = list(encoded(said("goforward", 1.0), wire))
    async with served(tmp_path, limits={"resume_window_s": 0.2}) as server:
        async with begun(server, binary=True, hasty=False) as client:
            await client.send_audio(payloads)
            while len(client.payloads) < 4:
                await client.next()
            await client.send_audio(payloads[:7])
            client.ws.transport.abort()
        await eventually(lambda: len(server.application.host.registry) == 0)
        events = ledger(server.application.settings)
    audio = b"".join(payloads)
    assert length(audio, wire) <= received(events) <= length(audio + b"".join(payloads[:7]), wire)
    assert sent(events) == length(b"".join(handed_over), AudioFormat(Encoding.PCM16, 24_000))
    assert sum(event.audio_ms_received for event in events) == received(events) // 48


async def test_what_was_said_to_nobody_is_sent_when_the_client_comes_back_and_counted_once(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"resume_window_s": 10}) as server:
        async with begun(server, binary=True, hasty=False) as before:
            await before.say("chat.start", prompt=PROMPT)
            while len(before.payloads) < 3:
                await before.next()
            before.ws.transport.abort()
        (live,) = server.application.host.registry._live.values()
        await eventually(lambda: live.connection is None and live._unsent._kept)
        async with joined(server.voice_url) as after:
            await resume(after, before)
            await after.until("chat.complete")
            await after.say("voice.stop")
            await after.closed()
        events = ledger(server.application.settings)
    check(events, 0, length(before.audio + after.audio, AudioFormat(Encoding.PCM16, 24_000)))


async def test_a_realtime_conversation_is_counted_as_its_client_counts_it(tmp_path: Path) -> None:
    audio = speech_24k(0.5) + bytes(2 * 17)
    async with served(tmp_path) as server:
        async with realtime(server.url) as client:
            await client.speak(audio)
            await client.speak(bytes(2 * 24_000))
            await client.until("response.done")
            item: dict[str, Any] = {"type": "message", "role": "user", "content": []}
            recording = base64.b64encode(audio).decode()
            item["content"].append({"type": "input_audio", "audio": recording})
            await client.say("conversation.item.create", item=item)
            await client.say("response.create")
            await client.until("response.done")
        await eventually(lambda: len(server.application.host.registry) == 0)
        events = ledger(server.application.settings)
    deltas = [event["delta"] for event in client.events if event["type"] == "response.output_audio.delta"]
    heard = b"".join(map(base64.b64decode, deltas))
    wire = AudioFormat(Encoding.PCM16, 24_000)
    check(events, length(audio + bytes(2 * 24_000) + audio, wire), length(heard, wire))
    spoken, recorded = events[0], events[1]
    assert spoken.audio_ms_in > 500
    assert recorded.audio_ms_in == length(audio, wire) // 48, "what was recognised for an item is not billed"


@pytest.mark.timeout(120)
async def test_a_webrtc_call_is_counted_as_it_was_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    played: list[int] = []
    on_audio, play = Call.on_audio, Call.play

    def hear(self: Call, samples: Samples) -> None:
        session = getattr(self.ear, "__self__", None)
        if session is not None and not session.sound._closed:  # after its end a call goes on for an instant
            decoded.append(ticks(len(samples), 16_000))
        on_audio(self, samples)

    def speak(self: Call, samples: Samples, rate_hz: int) -> None:
        played.append(ticks(len(samples), rate_hz))
        play(self, samples, rate_hz)

    monkeypatch.setattr(Call, "on_audio", hear)
    monkeypatch.setattr(Call, "play", speak)
    async with served(tmp_path) as server:
        async with call(server.url) as caller:
            await caller.start()
            await caller.speak(said("goforward", 1.0))
            await caller.until("chat.complete")
            await caller.speak(said("goforward", 0.1))
            caller.send(type="voice.stop")
            await eventually(lambda: len(server.application.host.registry) == 0)
        events = ledger(server.application.settings)
    assert received(events) > ticks(len(said("goforward", 1.0)), 16_000) * 9 // 10
    assert (received(events), sent(events)) == (sum(decoded), sum(played))
    assert events[0].transport == "webrtc"


async def test_a_server_that_is_killed_leaves_what_was_durable_and_nothing_twice(tmp_path: Path) -> None:
    wire = AudioFormat(Encoding.PCM16, 16_000)
    payloads = list(encoded(said("goforward", 1.0), wire))
    told: list[str] = []
    given = 0
    for _ in range(2):
        with scripted_server(tmp_path) as server:
            async with begun(server, binary=True) as client:
                await client.send_audio(payloads)
                given += length(b"".join(payloads), wire)
                told.append((await client.until("chat.complete", within_s=30))["request_id"])
                await client.send_audio([bytes(3_200)] * 5)  # the same words again might be taken for an echo
                given += length(bytes(3_200) * 5, wire)
                await client.say("chat.start", prompt=PROMPT)
                begun_turn = (await client.until("turn.started", within_s=30))["request_id"]
                await listened(client, 25)
                await eventually(lambda begun_turn=begun_turn: journalled(tmp_path, begun_turn))
                server.kill()
                with anyio.fail_after(5), pytest.raises(ConnectionClosed):
                    await client.listen()
    with scripted_server(tmp_path):
        events = usage_events(tmp_path)
    by_request = {event["request_id"]: event for event in events}
    assert len(by_request) == len(events)
    assert set(told) <= set(by_request)
    heard_ms = len(b"".join(payloads)) // 32
    assert 0.5 * given < sum(event["audio_ticks_received"] for event in events) <= given
    assert all(by_request[request_id]["audio_ms_received"] >= heard_ms // 2 for request_id in told)
    assert sorted(event["success"] for event in events) == [False, False, True, True]


def journalled(data_dir: Path, request_id: str) -> bool:
    """Whether this turn is on the disk: it is written beside the first words, and what was not is nobody's to find."""
    files = [path for path in (data_dir / "journal").rglob("*") if path.is_file()]
    return any(request_id.encode() in path.read_bytes() for path in files)


async def listened(client: Client, payloads: int) -> None:
    """Return once so much more of the agent's audio has come."""
    enough = len(client.payloads) + payloads
    with anyio.fail_after(20):
        while len(client.payloads) < enough:
            await client.next()
