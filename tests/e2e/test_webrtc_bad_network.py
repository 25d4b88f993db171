"""Whole conversations over WebRTC on networks that lose, delay, swap and die: what is understood, and that it goes on.

The real server with its embedded ears and voice is one machine, its caller another, and between them lies a wire
(``netns``). What the user says is human speech, compared with what the server understood of it; what the caller heard
of the answer, after loss, is transcribed back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import pytest
from clients.chat_endpoint import LONG_ANSWER, SHORT_ANSWER, chat_endpoint
from netns import DEAD, GOOD, Conditions, Network, network
from real_server import RealServer, embedded_server, require_engines
from rtc_caller import Caller, call
from spoken import clip, match, transcript, word_error_rate

from audio.formats import Samples
from audio.stt.whisper_model import WhisperModel, packaged_model

pytestmark = [pytest.mark.engines, pytest.mark.timeout(150)]

KEY = "a-secret-of-a-test-0123456789"
SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
LOSSY = Conditions(loss=0.05, jitter_ms=60)
BURST = Conditions(loss=0.2, jitter_ms=60)

QUESTION, INTERRUPTION, REMARK = "arctic_a0007", "librivox_0930", "goforward"
"""Clips: one that gets a long answer, one that interrupts it, one that gets a short answer."""

UNDERSTOOD_WER = 0.25
HEARD_WER = 0.25


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network({"server": [SERVER], "client": [CLIENT]}, seed=7) as made:
        yield made


@pytest.fixture(scope="module")
def server(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """``convergio-voice serve`` on its machine, with a language model there that always says the same."""
    settings = {
        "host": SERVER,
        "api_keys": json.dumps([KEY]),
        "model__engine": "openai",
        "model__api_key": "any",
        "model__model": "always-the-same",
        "agent__max_output_tokens": 400,
        "log__format": "json",
    }
    with ExitStack() as stack:
        with net.inside("server"):
            settings["model__base_url"] = stack.enter_context(chat_endpoint()).base_url
            settings["model__fallback"] = "none"
            running = stack.enter_context(embedded_server(tmp_path_factory.mktemp("server"), **settings))
        yield running


@pytest.fixture(scope="module")
def listener() -> WhisperModel:
    """Who listens to what the caller heard."""
    require_engines()
    return WhisperModel(packaged_model(), workers=1)


@pytest.fixture
def client(net: Network, server: RealServer) -> Iterator[None]:
    """The test is run on the caller's machine, and begins with a good network."""
    net.between("server", "client", GOOD)
    with net.inside("client"):
        yield


def heard_by(listener: WhisperModel, samples: Samples) -> str:
    return listener.decode(samples, listener.prompt("en")).text


def records(server: RealServer, message: str) -> list[dict[str, Any]]:
    """What the server logged under this message."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == message]


async def ended(server: RealServer, caller: Caller) -> dict[str, Any]:
    """The server's account of a call, once that is over."""
    call_id = caller.location.rpartition("/")[2]
    with anyio.fail_after(15):
        while True:
            for record in records(server, "call ended"):
                if record["call_id"] == call_id:
                    return record
            await anyio.sleep(0.05)


async def asked(caller: Caller) -> dict[str, Any]:
    """Ask in writing for a long answer: its turn."""
    caller.send(type="chat.start", prompt="Tell me about the superlative degree.")
    return await caller.until("turn.started")


async def speaks_for(caller: Caller, seconds: float, since: int = 0) -> None:
    """Until the caller has heard the agent for so long."""

    def enough() -> bool:
        samples = caller.ear.since(since).astype(int)
        return (abs(samples) > 200).any() and len(samples) - int((abs(samples) > 200).argmax()) > seconds * 16_000

    await caller.wait(enough, "the agent's voice")


async def says(caller: Caller, name: str) -> int:
    """Say a recording; where the ear is when it is said, for messages may come later than the voice."""
    await caller.speak(clip(name))
    return caller.ear.position


async def answered(caller: Caller, listener: WhisperModel, turn: dict[str, Any], since: int) -> float:
    """Hear a short answer to its end: the word error rate of what was heard."""
    done = await caller.until("chat.complete", request_id=turn["request_id"])
    assert not done["interrupted"]
    assert match(SHORT_ANSWER, done["text"]) == 1
    heard = await caller.heard(since)
    understood = await anyio.to_thread.run_sync(heard_by, listener, heard)
    return word_error_rate(SHORT_ANSWER, understood)


def understood_of(turn: dict[str, Any], name: str) -> float:
    """The word error rate of what the server understood."""
    return word_error_rate(transcript(name), turn["text"])


def unharmed(server: RealServer) -> None:
    """Nothing went wrong in the server, and it is ready for more."""
    assert server.process.poll() is None
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    assert [line for line in lines if line["level"] in {"error", "critical"} or "exception" in line] == []


async def test_words_are_understood_both_ways_and_an_answer_interrupted_where_packets_are_lost_and_swapped(
    net: Network, server: RealServer, listener: WhisperModel, client: None
) -> None:
    net.between("server", "client", LOSSY)
    async with call(server.url, KEY) as caller:
        await caller.start()
        await caller.speak(clip(QUESTION))
        first = await caller.until("turn.started")
        await speaks_for(caller, 2.0)
        over = await says(caller, INTERRUPTION)
        interrupted = await caller.until("voice.interrupted", request_id=first["request_id"])
        second = await caller.until("turn.started", nth=2)
        assert understood_of(first, QUESTION) <= UNDERSTOOD_WER
        assert understood_of(second, INTERRUPTION) <= UNDERSTOOD_WER
        assert await answered(caller, listener, second, over) <= HEARD_WER
        assert caller.of("chat.complete", request_id=first["request_id"])[0]["interrupted"]
        assert interrupted["heard_ms"] > 0
        assert match(interrupted["heard_text"], LONG_ANSWER[: len(interrupted["heard_text"])]) == 1
        stages = [one["stage"] for one in (await caller.until("turn.latency", nth=2))["stages"]]
        assert stages == ["endpoint", "stt", "agent", "tts", "egress", "total"]
        assert len(caller.of("turn.started")) == len(caller.of("chat.complete")) == 2
        assert caller.of("error") == []
        await caller.hang_up()
        account = await ended(server, caller)
    assert account["lost_packets"] > 5
    assert account["recovered_packets"] > 0
    assert account["concealed_packets"] > 0
    assert caller.ear.stats.recovered > 0
    assert net.carried("client", "server").reordered > 20
    unharmed(server)


async def test_a_conversation_outlives_a_bad_moment_and_a_dead_one(
    net: Network, server: RealServer, listener: WhisperModel, client: None
) -> None:
    async with call(server.url, KEY) as caller:
        await caller.start()
        await asked(caller)
        await speaks_for(caller, 1.0)
        net.between("server", "client", BURST)
        await asyncio.sleep(2)  # the network's time, which nothing can hurry
        net.between("server", "client", DEAD)
        await asyncio.sleep(5)
        net.between("server", "client", GOOD)
        await speaks_for(caller, 0.5, caller.ear.position)
        over = await says(caller, REMARK)
        second = await caller.until("turn.started", nth=2)
        assert understood_of(second, REMARK) <= UNDERSTOOD_WER
        assert await answered(caller, listener, second, over) <= HEARD_WER
        assert caller.of("error") == []
        await caller.hang_up()
        account = await ended(server, caller)
    assert account["lost_packets"] > 200
    assert account["concealed_packets"] < 100
    assert account["silence_ms"] > 4_000
    unharmed(server)


async def test_a_caller_who_gave_up_a_dead_connection_goes_on_over_a_new_one(
    net: Network, server: RealServer, listener: WhisperModel, client: None
) -> None:
    async with call(server.url, KEY) as lost:
        session = await lost.start()
        await asked(lost)
        await speaks_for(lost, 1.0)
        net.between("server", "client", DEAD)
        last = lost.events[-1]["event_id"]
    net.between("server", "client", GOOD)
    async with call(server.url, KEY) as caller:
        resumed = await caller.resume(session["session_id"], last)
        assert (resumed["session_id"], resumed["missed_events"]) == (session["session_id"], 0)
        await ended(server, lost)
        await speaks_for(caller, 0.5)
        over = await says(caller, REMARK)
        second = await caller.until("turn.started")
        assert understood_of(second, REMARK) <= UNDERSTOOD_WER
        assert await answered(caller, listener, second, over) <= HEARD_WER
        numbers = [event["event_id"] for event in caller.events[1:]]
        # Voice that was made while nobody was connected has numbers too, and is not sent where there is a track.
        assert last < numbers[0] <= last + 25
        assert numbers == sorted(set(numbers))
        await caller.hang_up()
        await ended(server, caller)
    unharmed(server)


async def test_a_caller_whose_address_changes_is_heard_and_hears_over_a_new_path(
    net: Network, server: RealServer, listener: WhisperModel, client: None
) -> None:
    async with call(server.url, KEY) as caller:
        await caller.start()
        await asked(caller)
        await speaks_for(caller, 1.0)
        net.move("client", "10.77.0.22")
        answer = await caller.restart_ice()
        assert answer != caller.answer
        await speaks_for(caller, 1.0, caller.ear.position)
        over = await says(caller, REMARK)
        second = await caller.until("turn.started", nth=2)
        assert understood_of(second, REMARK) <= UNDERSTOOD_WER
        assert await answered(caller, listener, second, over) <= HEARD_WER
        await caller.hang_up()
        await ended(server, caller)
    unharmed(server)
