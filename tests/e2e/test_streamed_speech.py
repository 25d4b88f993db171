"""Replies spoken while they are written: our server, the genuine Speech SDK, a local service, a model that dribbles.

The service is ``convergio-voice azure-emulator`` with a scripted voice, which takes 60 ms for every character and
speaks a sentence before its end once it is 120 characters long. The model is a chat endpoint whose words a test lets
go. Nobody is heard here: tests write.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from azure.emulator_process import EmulatorProcess, azure_emulator
from clients.chat_endpoint import chat_endpoint
from real_server import PROGRAM, RealServer, require_engines, serving
from voice_socket import Client, begun

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")

ANSWER = (
    "Long before the harbor was built there lived beside the sea a quiet old man who every evening, whatever the "
    "weather, walked down to the water and counted the ships that came home. Then he went to bed. In the morning he "
    "told his neighbors how many there had been, and nobody ever asked him why he wanted to know."
)
HALF = 28
"""Words after which the model waits, in the middle of the first sentence, with more than 120 characters written."""
LIMIT_S = 40


@dataclass
class Writer:
    """The model's hand: it writes so many words, and the rest once ``go_on`` is set."""

    go_on: threading.Event = field(default_factory=threading.Event)
    words: int = HALF

    def before_word(self, number: int) -> None:
        if number >= self.words:
            self.go_on.wait(LIMIT_S)


@contextmanager
def server_on(service: EmulatorProcess, data_dir: Path, writer: Writer, **more: object) -> Iterator[RealServer]:
    with chat_endpoint(ANSWER, writer.before_word) as endpoint:
        settings: dict[str, object] = {
            "stt__engine": "none",
            "tts__engine": "azure",
            "tts__fallback": "none",
            "azure__host": service.ws_url,
            "azure__key": "any",
            "azure__text_streaming": "auto",
            "model__base_url": endpoint.base_url,
            "model__model": "scripted",
            "speech__silero": "false",
            "speech__smart_turn": "false",
        }
        try:
            with serving([str(PROGRAM), "serve", "--port", "0"], data_dir, settings | more) as server:
                yield server
        finally:
            writer.go_on.set()


@dataclass
class Talking:
    """A server, its service and its model."""

    server: RealServer
    service: EmulatorProcess
    writer: Writer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    writer = Writer()
    writer.go_on.set()
    with azure_emulator() as service, server_on(service, tmp_path_factory.mktemp("server"), writer) as server:
        yield Talking(server, service, writer)


@pytest.fixture
def talking(running: Talking) -> Talking:
    running.writer.go_on.set()
    running.writer.words = HALF
    return running


def stand_ins(client: Client) -> list[tuple[str, str]]:
    found = [(message["from"], message["to"]) for message in client.of("degraded")]
    return [pair for pair in found if pair != ("speech", "text")]  # nobody is heard here


def most_pieces(state: dict[str, Any]) -> int:
    """How many stretches of text one connection was given, at most."""
    return max((record["received"].get("text.piece", 0) for record in state["connections"]), default=0)


def lines(client: Client) -> list[str]:
    return [caption["text"] for caption in client.of("caption") if caption["speaker"] == "agent"]


async def heard_something(client: Client) -> None:
    with anyio.fail_after(LIMIT_S):
        while not client.payloads:
            await client.next()


async def test_audio_begins_before_the_sentence_is_complete(talking: Talking) -> None:
    talking.writer.go_on.clear()
    async with begun(talking.server, binary=True, output={"visemes": True}) as client:
        await client.say("chat.start", prompt="Tell me.")
        await client.until("voice.audio", within_s=LIMIT_S)
        written = "".join(token["text"] for token in client.of("chat.token"))
        assert "home." not in written, "the first sentence is not complete, and will not be before we say so"
        await to_thread.run_sync(talking.service.wait, lambda state: most_pieces(state) > 0)
        talking.writer.go_on.set()
        completed = await client.until("chat.complete", within_s=LIMIT_S)
    assert not client.of("error")
    assert completed["text"] == ANSWER
    assert "".join(lines(client)) == ANSWER
    assert stand_ins(client) == []
    shapes = [shape["at_ms"] for message in client.of("voice.visemes") for shape in message["visemes"]]
    assert len(shapes) > 100
    assert shapes == sorted(shapes)
    assert shapes[-1] <= client.of("voice.audio.done")[0]["audio_ms"]
    state = await to_thread.run_sync(talking.service.state)
    assert most_pieces(state) > 1, "the rest follows what was there before the sentence was complete"


async def test_a_model_that_pauses_behind_a_sentence_that_was_said_is_no_dead_voice(talking: Talking) -> None:
    talking.writer.words = ANSWER.split().index("bed.") - 1
    talking.writer.go_on.clear()
    async with begun(talking.server, binary=True) as client:
        await client.say("chat.start", prompt="Tell me.")
        await client.until("voice.audio", within_s=LIMIT_S)
        with anyio.move_on_after(4.0):  # the voice has 3 s for audio that is due
            await client.listen()
        written = "".join(token["text"] for token in client.of("chat.token"))
        assert written.endswith("home. Then he went ")
        talking.writer.go_on.set()
        await client.until("chat.complete", within_s=LIMIT_S)
    assert "".join(lines(client)) == ANSWER
    assert client.of("voice.audio.done")[0]["audio_ms"] == pytest.approx(60 * len(ANSWER), abs=1_000)


@pytest.mark.parametrize("after_ms", [1_500, 6_000])
async def test_an_interrupted_reply_is_remembered_as_far_as_it_was_heard(talking: Talking, after_ms: int) -> None:
    async with begun(talking.server, binary=True, hasty=False) as client:
        await client.say("chat.start", prompt="Tell me.")
        with anyio.fail_after(LIMIT_S):
            while sum(len(payload) for payload in client.payloads) < after_ms * 48:
                await client.next()
        await client.say("voice.cancel")
        interrupted = await client.until("voice.interrupted", within_s=LIMIT_S)
        await client.until("chat.complete", within_s=LIMIT_S)
        heard = len(client.payloads)
        await client.say("chat.start", prompt="And again?")
        with anyio.fail_after(LIMIT_S):
            while len(client.payloads) == heard:
                await client.next()
    text = interrupted["heard_text"]
    assert ANSWER.startswith(text)
    assert ANSWER[len(text)] in " .,", "whole words"
    assert abs(60 * len(text) - interrupted["heard_ms"]) < 1_000
    assert stand_ins(client) == []


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
async def test_every_output_rate_carries_the_whole_reply(talking: Talking, rate_hz: int) -> None:
    output = {"codec": "pcm16", "sample_rate": rate_hz}
    async with begun(talking.server, binary=True, output=output) as client:
        await client.say("chat.start", prompt="Tell me.")
        await client.until("chat.complete", within_s=LIMIT_S)
    audio_ms = client.of("voice.audio.done")[0]["audio_ms"]
    assert len(client.audio) == pytest.approx(audio_ms * rate_hz * 2 / 1_000, abs=rate_hz / 100)
    assert audio_ms == pytest.approx(60 * len(ANSWER), abs=1_000)
    last = [caption for caption in client.of("caption") if caption["speaker"] == "agent"][-1]
    assert last["end_ms"] == pytest.approx(audio_ms, abs=300)


@pytest.mark.engines
async def test_a_service_that_dies_in_the_middle_of_a_reply_leaves_the_rest_to_the_embedded_voice(
    tmp_path: Path,
) -> None:
    require_engines()
    writer = Writer()
    writer.go_on.set()  # the server tries its model when it starts
    with azure_emulator() as service, server_on(service, tmp_path, writer, tts__fallback="embedded") as server:
        writer.go_on.clear()
        async with begun(server, binary=True) as client:
            await client.say("chat.start", prompt="Tell me.")
            await heard_something(client)
            service.process.kill()
            writer.go_on.set()
            completed = await client.until("chat.complete", within_s=LIMIT_S)
    assert stand_ins(client) == [("tts azure", "piper")]
    assert completed["text"] == ANSWER
    assert "".join(lines(client)) == ANSWER
    assert client.of("voice.audio.done")[0]["audio_ms"] > 9_000
