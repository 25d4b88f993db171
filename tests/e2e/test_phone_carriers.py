"""The same call over every other carrier: greeted, answered, keys, interrupted, hung up; and AudioSocket over TCP."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import numpy as np
import pytest
import uvloop
from anyio.abc import SocketAttribute, SocketStream
from phone_carrier import narrowed
from spoken import said
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agents.models.scripted import ScriptedModel
from server.telephony.desk import PhoneDesk
from server.telephony_settings import TelephonySettings
from server.transports.phone.audiosocket_listener import AudioSocketListener, TcpWire
from server.transports.phone.stream_call import WireGone
from tests.scripted_server import Served, eventually, scripted_engines, served

SECRET = "a-secret-of-the-carrier"
LONG = "This is a long answer that goes on for quite some time. " * 6
CALLER = {"caller": "+15550100123", "callee": "+15550100999"}


@asynccontextmanager
async def server(tmp_path: Path, model: Any = None, **changes: Any) -> AsyncGenerator[Served]:
    telephony = {"stream_secrets": (SECRET,), "greeting": "Hello there.", "greeting_after_s": 0, **changes}
    async with served(tmp_path, scripted_engines(model), telephony=telephony, latency={"enforce": False}) as one:
        yield one
        await eventually(lambda: len(one.application.host.registry) == 0, 20)


class BinaryCarrier:
    """A carrier of 16-bit samples in binary frames: Vonage, jambonz, FreeSWITCH."""

    rate_hz = 8_000

    def __init__(self, name: str, ws: ClientConnection) -> None:
        self.name, self.ws = name, ws
        self.heard = bytearray()
        self.sizes: set[int] = set()
        self.arrivals: list[float] = []
        self.texts: list[dict[str, Any]] = []
        self.closed = False
        self.played_until_s = 0.0
        self.marks: list[tuple[float, dict[str, Any]]] = []

    async def start(self) -> None:
        starts = {
            "vonage": {"event": "websocket:connected", "content-type": "audio/l16;rate=8000", **CALLER},
            "jambonz": {"callSid": "c1", "from": CALLER["caller"], "to": CALLER["callee"], "sampleRate": 8_000},
            "freeswitch": {"uuid": "f1", **CALLER},
        }
        await self.ws.send(json.dumps(starts[self.name]))

    async def press(self, digit: str) -> None:
        keys = {
            "vonage": {"event": "websocket:dtmf", "digit": digit, "duration": 260},
            "jambonz": {"event": "dtmf", "dtmf": digit, "duration": "1600"},
            "freeswitch": {"event": "dtmf", "digit": digit},
        }
        await self.ws.send(json.dumps(keys[self.name]))

    async def say(self, samples: np.ndarray) -> None:
        line = narrowed(samples).astype("<i2").tobytes()
        for at in range(0, len(line), 320):
            await self.ws.send(line[at : at + 320])

    async def listen(self) -> None:
        try:
            while True:
                frame = await self.ws.recv()
                if isinstance(frame, bytes):
                    self.heard += frame
                    self.sizes.add(len(frame))
                    self.arrivals.append(time.monotonic())
                    self.played_until_s = max(self.played_until_s, time.monotonic()) + len(frame) / 16_000
                else:
                    self._text(json.loads(frame))
        except ConnectionClosed:
            self.closed = True

    async def play(self) -> None:
        """Send marks back when what came before them has been played."""
        with suppress(ConnectionClosed):
            while True:
                await anyio.sleep(0.005)
                while self.marks and self.marks[0][0] <= time.monotonic():
                    await self.ws.send(json.dumps(self.marks.pop(0)[1]))

    def _text(self, message: dict[str, Any]) -> None:
        self.texts.append(message)
        if message.get("action") == "notify":
            self.marks.append((self.played_until_s, {"event": "websocket:notify", "payload": message["payload"]}))
        if message.get("type") == "mark":
            played = {"type": "mark", "data": {**message["data"], "event": "playout"}}
            self.marks.append((self.played_until_s, played))
        if message in CLEARS.values():
            self.played_until_s = 0.0

    @property
    def heard_ms(self) -> int:
        return len(self.heard) // 16


@asynccontextmanager
async def calling(
    one: Served, name: str, query: str = f"?token={SECRET}", **options: Any
) -> AsyncGenerator[BinaryCarrier]:
    url = f"ws{one.url.removeprefix('http')}/v1/phone/{name}{query}"
    async with connect(url, proxy=None, compression=None, **options) as ws:
        carrier = BinaryCarrier(name, ws)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carrier.listen)
            tasks.start_soon(carrier.play)
            await carrier.start()
            yield carrier
            tasks.cancel_scope.cancel()


BINARY = ("vonage", "jambonz", "freeswitch")
CLEARS = {"vonage": {"action": "clear"}, "jambonz": {"type": "killAudio"}, "freeswitch": {"type": "killAudio"}}


@pytest.mark.parametrize("name", BINARY)
async def test_a_caller_is_greeted_answered_and_may_interrupt(tmp_path: Path, name: str) -> None:
    model = ScriptedModel(LONG, repeat=True)
    async with server(tmp_path, model) as one, calling(one, name) as call:
        await eventually(lambda: call.heard_ms >= 700)
        live = next(iter(one.application.host.registry._live.values()))
        assert CALLER["caller"] in live.session._engines.agent.system_prompt
        await call.say(said("goforward"))
        await eventually(lambda: call.heard_ms >= 1_800)
        await call.say(said("goforward", silence_s=0.1))
        await eventually(lambda: CLEARS[name] in call.texts)
        for digit in "5#":
            await call.press(digit)
        entry = "[The caller entered 5 on the keypad]"
        await eventually(lambda: any(each.messages[-1].text == entry for each in model.requests), 20)
        if name in {"vonage", "freeswitch"}:
            assert call.sizes == {320}
        live.end()
        await eventually(lambda: call.closed)
        if name != "vonage":
            assert {"type": "disconnect"} in call.texts


async def test_a_paced_carrier_gets_its_frames_in_real_time(tmp_path: Path) -> None:
    long = "This greeting takes a good two seconds to say."
    async with server(tmp_path, greeting=long) as one, calling(one, "freeswitch") as call:
        await eventually(lambda: call.heard_ms >= 2_000)
        early = [(number + 1) * 0.02 - (at - call.arrivals[0]) for number, at in enumerate(call.arrivals)]
        assert max(early) <= 0.02 + 0.04 + 0.5  # a frame, the lead, and a machine that lets them wait


async def test_freeswitch_may_have_its_audio_in_messages(tmp_path: Path) -> None:
    async with server(tmp_path) as one, calling(one, "freeswitch", f"?token={SECRET}&playback=json") as call:
        await eventually(lambda: len(call.texts) > 10)
        data = call.texts[0]["data"]
        assert (data["audioDataType"], data["sampleRate"]) == ("raw", 8_000)
        assert len(base64.b64decode(data["audioData"])) == 320


@pytest.mark.parametrize(
    ("query", "options"),
    [
        (f"?token={SECRET}", {}),
        ("", {"additional_headers": {"Authorization": f"Bearer {SECRET}"}}),
        ("", {"additional_headers": {"Authorization": "Basic " + base64.b64encode(f"x:{SECRET}".encode()).decode()}}),
    ],
)
async def test_a_secret_opens_a_stream(tmp_path: Path, query: str, options: dict[str, Any]) -> None:
    async with server(tmp_path) as one, calling(one, "jambonz", query, **options) as call:
        await eventually(lambda: call.heard_ms > 0)


@pytest.mark.parametrize("path", ["vonage", "vonage?token=wrong", "jambonz", "freeswitch", "telnyx", "telnyx?token="])
async def test_without_the_secret_nothing_opens(tmp_path: Path, path: str) -> None:
    async with server(tmp_path) as one:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws{one.url.removeprefix('http')}/v1/phone/{path}", proxy=None):
                pass
        assert refused.value.response.status_code == 401


async def test_a_carrier_nobody_knows_is_not_found(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        for path in ("pigeon", f"freeswitch?token={SECRET}&rate=11025"):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws{one.url.removeprefix('http')}/v1/phone/{path}", proxy=None):
                    pass
            assert refused.value.response.status_code in {400, 404}


# --- AudioSocket ---


class Asterisk:
    """Asterisk's side of an AudioSocket."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        self.heard = bytearray()
        self.arrivals: list[float] = []
        self.hung_up = False
        self.closed = False

    async def frame(self, kind: int, payload: bytes = b"") -> None:
        await self.stream.send(struct.pack("!BH", kind, len(payload)) + payload)

    async def say(self, samples: np.ndarray) -> None:
        line = narrowed(samples).astype("<i2").tobytes()
        for at in range(0, len(line), 320):
            await self.frame(0x10, line[at : at + 320])

    async def listen(self) -> None:
        rest = b""
        try:
            while True:
                rest += await self.stream.receive()
                while len(rest) >= 3 and len(rest) >= 3 + (length := struct.unpack_from("!H", rest, 1)[0]):
                    kind, payload, rest = rest[0], rest[3 : 3 + length], rest[3 + length :]
                    if kind == 0x10:
                        assert len(payload) == 320
                        self.heard += payload
                        self.arrivals.append(time.monotonic())
                    self.hung_up |= kind == 0x00
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.closed = True

    @property
    def heard_ms(self) -> int:
        return len(self.heard) // 16


@asynccontextmanager
async def asterisk(one: Served) -> AsyncGenerator[Asterisk]:
    port = one.application.audiosocket.port
    assert port is not None
    async with await anyio.connect_tcp("127.0.0.1", port) as stream, anyio.create_task_group() as tasks:
        caller = Asterisk(stream)
        tasks.start_soon(caller.listen)
        yield caller
        tasks.cancel_scope.cancel()


AUDIOSOCKET = {"audiosocket": {"port": 0}}


async def test_asterisk_is_greeted_answered_and_hung_up(tmp_path: Path) -> None:
    model = ScriptedModel("Ten meters it is, and not a step more.", repeat=True)
    async with server(tmp_path, model, **AUDIOSOCKET) as one, asterisk(one) as call:
        await call.frame(0x01, uuid.uuid4().bytes)
        await eventually(lambda: call.heard_ms >= 700)
        await call.say(said("goforward"))
        await eventually(lambda: call.heard_ms >= 2_000)
        first = call.arrivals[-50]
        assert call.arrivals[-1] - first >= 49 * 0.02 - 0.1  # in real time, not faster
        await call.frame(0x03, b"5")
        await call.frame(0x03, b"#")
        entry = "[The caller entered 5 on the keypad]"
        await eventually(lambda: any(each.messages[-1].text == entry for each in model.requests), 20)
        next(iter(one.application.host.registry._live.values())).end()
        await eventually(lambda: call.closed)
        assert call.hung_up


@pytest.mark.parametrize("fault", ["hang up", "reset", "garbage", "wrong rate", "no uuid"])
async def test_asterisk_may_do_anything_and_leaves_nothing(tmp_path: Path, fault: str) -> None:
    async with server(tmp_path, **AUDIOSOCKET) as one, asterisk(one) as call:
        if fault == "no uuid":
            with suppress(anyio.BrokenResourceError):  # it hangs up in the middle of it
                await call.say(said("goforward")[:4_000])
        else:
            await call.frame(0x01, uuid.uuid4().bytes)
            await eventually(lambda: call.heard_ms >= 100)
        match fault:
            case "hang up":
                await call.frame(0x00)
            case "reset":
                await call.stream.aclose()
            case "garbage":
                await call.stream.send(b"\xff" * 40_000)
            case "wrong rate":
                await call.frame(0x12, bytes(640))
        await eventually(lambda: call.closed)


async def test_machines_that_are_gone_at_once_leave_the_port_open(tmp_path: Path) -> None:
    async with server(tmp_path, **AUDIOSOCKET) as one:
        port = one.application.audiosocket.port
        assert port is not None
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with asterisk(one) as call:
            await call.frame(0x01, uuid.uuid4().bytes)
            await eventually(lambda: call.heard_ms >= 100)


def test_a_machine_that_is_gone_at_once_is_no_failure_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    """uvloop, which the server runs on, has no socket left to ask for the address."""

    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        served = anyio.Event()
        audiosocket = AudioSocketListener(cast("PhoneDesk", _Unasked()))

        async def serve(stream: SocketStream) -> None:
            await anyio.sleep(0.05)
            await audiosocket._serve(stream)
            served.set()

        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            with socket.create_connection(("127.0.0.1", listener.extra(SocketAttribute.local_port))) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with anyio.fail_after(10):
                await served.wait()
            tasks.cancel_scope.cancel()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
    assert "failed" not in caplog.text


class _Unasked:
    settings = TelephonySettings()


def test_a_wire_is_cut_whatever_loop_runs_it() -> None:
    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        cut = anyio.Event()

        async def serve(stream: SocketStream) -> None:
            async with stream:
                wire = TcpWire(stream)
                wire.cut()
                with pytest.raises(WireGone):
                    await wire.receive()
                cut.set()

        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            async with await anyio.connect_tcp("127.0.0.1", listener.extra(SocketAttribute.local_port)):
                with anyio.fail_after(10):
                    await cut.wait()
            tasks.cancel_scope.cancel()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_only_machines_of_the_list_may_come_and_only_so_many(tmp_path: Path) -> None:
    async with server(tmp_path, audiosocket={"port": 0, "networks": ["192.0.2.0/24"]}) as one, asterisk(one) as call:
        await eventually(lambda: call.closed)
        assert one.application.audiosocket.admits("192.0.2.9")
        assert one.application.audiosocket.admits("::ffff:192.0.2.9")
        assert not one.application.audiosocket.admits("nonsense")
    limits = {"audiosocket": {"port": 0, "max_calls": 1}}
    async with server(tmp_path, **limits) as one, asterisk(one) as first:
        await first.frame(0x01, uuid.uuid4().bytes)
        await eventually(lambda: first.heard_ms >= 100)
        async with asterisk(one) as second:
            await eventually(lambda: second.closed)
        assert not first.closed


async def test_the_port_is_off_unless_it_is_set(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        assert one.application.audiosocket.port is None
