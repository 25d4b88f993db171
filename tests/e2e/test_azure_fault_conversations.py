"""Every fault of Azure Speech in a whole conversation: what the user hears, and what they are told.

One server with Azure recognising and speaking and the embedded engines behind it, one local service, and the genuine
SDK between them; a language model on the loopback interface. Before each conversation a fault is put in force for
recognition and one for synthesis, all connections are closed (so that those prepared in advance help nobody), and a
recording is said. The table of ``docs/guides/engines.md`` is held by this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import numpy as np
import pytest
from anyio import to_thread
from azure.emulator_process import EmulatorProcess, azure_emulator
from clients.chat_endpoint import ChatEndpoint, chat_endpoint
from real_server import PROGRAM, RealServer, require_engines, serving
from spoken import clip, decoded, encoded, match, quiet, transcript, words
from voice_socket import Client, begun

from audio.formats import AudioFormat, Encoding

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
pytestmark = [pytest.mark.engines, pytest.mark.timeout(150)]

PCM16, PCM24 = (AudioFormat(Encoding.PCM16, rate) for rate in (16_000, 24_000))
TEXT = transcript("goforward")
SPEECH = clip("goforward")[6_400:38_000]
"""Without the silence around it."""
PAUSE_S = 0.1

Given = dict[str, Any]
EITHER = "either"
"""All was said when it was noticed, or a last word was not: both is right."""


@dataclass(frozen=True)
class Row:
    """Faults of one conversation, and the word of ours that names each; ``None`` where the user notices nothing."""

    name: str
    stt: Given = field(default_factory=dict[str, Any])
    stt_told: str | None = None
    tts: Given = field(default_factory=dict[str, Any])
    tts_told: str | None = None


def preset(name: str, **more: Any) -> Given:
    return {"preset": name, **more}


CUT_SHORT: Given = {"kind": "abort", "at": "audio", "after": 2}
THROTTLED_EARLY: Given = {"kind": "close", "code": 4429, "at": "response"}
ROWS = [
    Row("401", preset("unauthorized"), "AuthenticationFailure", preset("unauthorized"), "AuthenticationFailure"),
    Row("403", preset("forbidden"), "AuthenticationFailure", preset("gap"), "within 3 s"),
    Row("400", preset("bad-request"), "BadRequest", preset("close-bad-data"), "BadRequest"),
    Row("429", preset("throttled"), "TooManyRequests", preset("throttled"), "TooManyRequests"),
    Row("404", preset("not-found"), "ServiceError", preset("garbage"), None),
    Row("500", preset("broken"), "ServiceError", preset("broken"), "ServiceError"),
    Row("503", preset("unavailable"), "ServiceUnavailable", preset("unavailable"), "ServiceUnavailable"),
    Row("503 twice", preset("unavailable", times=2), None, preset("slow", times=2), None),
    Row("redirects", preset("redirect-loop"), "within", preset("close-throttled"), "TooManyRequests"),
    Row("no upgrade", preset("no-upgrade"), "within", preset("no-upgrade"), "no audio"),
    Row("reset once", preset("reset", times=1), None, preset("reset"), "ConnectionFailure"),
    Row("reset", preset("reset"), "", {"kind": "abort", "at": "response"}, "ConnectionFailure"),
    Row(
        "1007",
        preset("close-bad-data"),
        "BadRequest",
        CUT_SHORT,
        "ConnectionFailure",
    ),
    Row(
        "4429",
        preset("close-throttled"),
        "TooManyRequests",
        THROTTLED_EARLY,
        "TooManyRequests",
    ),
    Row("1008", preset("close-policy"), "", preset("close-policy"), "ConnectionFailure"),
    Row("1011", preset("close-error"), "", preset("close-error"), "ServiceError"),
    Row("1013", preset("close-restart"), "", preset("close-restart"), "ServiceError"),
    Row("1000", preset("close-normal"), "", preset("close-normal"), "no audio"),
    Row("phrase error", preset("phrase-error"), "", preset("silent"), "no audio"),
    Row("phrase throttled", preset("phrase-throttled"), "", preset("slow-voice", factor=1.3), None),
    Row("phrase bad", preset("phrase-bad-request"), "", preset("no-turn-end"), EITHER),
    Row("accepts, never answers", preset("silent"), "no answer"),
    Row("stalls in mid-speech", {"kind": "stall", "at": "hypothesis"}, ""),
    Row("slow", preset("slow"), None),
    Row("garbage", preset("garbage"), None),
]


@pytest.fixture(scope="module")
def service() -> Iterator[EmulatorProcess]:
    require_engines()
    with azure_emulator("--say", f"{TEXT.capitalize()}.") as emulator:
        yield emulator


@pytest.fixture(scope="module")
def model() -> Iterator[ChatEndpoint]:
    with chat_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(
    service: EmulatorProcess, model: ChatEndpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealServer]:
    chosen: dict[str, object] = {
        "stt__engine": "azure",
        "tts__engine": "azure",
        "azure__host": service.ws_url,
        "azure__key": "any",
        "azure__breaker_pause_s": PAUSE_S,
        "azure__breaker_longest_pause_s": PAUSE_S,
        "model__base_url": model.base_url,
        "model__model": "local",
        "model__api_key": "any",
    }
    with serving([str(PROGRAM), "serve", "--port", "0"], tmp_path_factory.mktemp("server"), chosen) as running:
        yield running


async def say(client: Client) -> None:
    """The recording at the pace of speech, silence until its answer is over."""
    before = len(client.of("chat.complete"))

    async def speak() -> None:
        for payload in encoded(np.concatenate([quiet(0.2), SPEECH, quiet(30.0)]), PCM16, 20):
            await client.send_audio([payload])
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(speak)
        while len(client.of("chat.complete")) == before:
            await client.until("chat.complete", within_s=60)
        tasks.cancel_scope.cancel()


def told(client: Client, stage: str) -> list[tuple[str, str, str]]:
    messages = client.of("degraded")
    return [(each["from"], each["to"], each["reason"]) for each in messages if each["from"].startswith(stage)]


def heard_s(client: Client, since: int = 0) -> float:
    """Seconds of sound among what came."""
    samples = decoded(client.payloads[since:], PCM24)
    frames = samples[: len(samples) // 320 * 320].reshape(-1, 320).astype(np.float64)
    return float((np.sqrt(np.mean(frames**2, axis=1)) > 100).sum() * 0.02)


def stood_in_for(client: Client, stage: str, instead: str, word: str | None) -> None:
    if word == EITHER:
        return
    if word is None:
        assert told(client, stage) == []
        return
    (change, *_) = told(client, stage)
    assert change[:2] == (f"{stage} azure", instead)
    assert word in change[2], change


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_the_user_is_understood_and_answered_whatever_azure_does(
    service: EmulatorProcess, server: RealServer, row: Row
) -> None:
    await to_thread.run_sync(service.reset)
    async with begun(server, binary=True) as client:
        for stage, fault in (("stt", row.stt), ("tts", row.tts)):
            if fault:
                await to_thread.run_sync(lambda stage=stage, fault=fault: service.inject(service=stage, **fault))
        await to_thread.run_sync(service.hang_up)
        await say(client)
        (turn,) = client.of("turn.started")
        assert words(turn["text"]) == words(TEXT), "no word lost, none doubled"
        assert heard_s(client) > 1.0
        assert client.of("error") == []
        assert "error_code" not in client.of("chat.complete")[0]
        stood_in_for(client, "stt", "whisper", row.stt_told)
        stood_in_for(client, "tts", "piper", row.tts_told)
        await to_thread.run_sync(service.heal)
        await to_thread.run_sync(service.hang_up)


async def test_a_later_turn_returns_to_azure_and_that_is_told(service: EmulatorProcess, server: RealServer) -> None:
    await to_thread.run_sync(service.reset)
    async with begun(server, binary=True) as client:
        for stage in ("stt", "tts"):
            await to_thread.run_sync(lambda stage=stage: service.inject(preset="throttled", service=stage))
        await to_thread.run_sync(service.hang_up)
        await say(client)
        await to_thread.run_sync(service.reset)
        await to_thread.run_sync(service.hang_up)
        await anyio.sleep(2 * PAUSE_S)  # the breakers' pause
        await say(client)
    assert [(source, to) for source, to, _ in told(client, "")] == [
        ("stt azure", "whisper"),
        ("tts azure", "piper"),
        ("stt stand-in", "azure"),
        ("tts stand-in", "azure"),
    ]
    assert [match(TEXT, turn["text"]) for turn in client.of("turn.started")] == [1.0, 1.0]
    state = await to_thread.run_sync(service.state)
    assert state["phrases"] >= 1
    assert state["bytes_out"] > 0


async def test_words_misheard_at_first_are_put_right_before_they_are_answered(
    service: EmulatorProcess, server: RealServer, model: ChatEndpoint
) -> None:
    await to_thread.run_sync(service.reset)
    async with begun(server, binary=True) as client:
        for fault in (
            {"kind": "words", "text": "go back ten meters", "service": "stt"},
            {"kind": "delay", "at": "phrase", "ms": 900, "service": "stt"},
            {"kind": "delay", "at": "audio", "ms": 1_200, "service": "tts", "times": 1},
        ):
            await to_thread.run_sync(lambda fault=fault: service.inject(**fault))
        await say(client)
        finals = client.of("transcript.final")
        while match(TEXT, finals[-1]["text"]) < 1.0:
            await client.until("transcript.final", within_s=30)
            finals = client.of("transcript.final")
        assert {each["utterance_id"] for each in finals} == {1}
        assert [each.get("corrected", False) for each in finals] == [False, True][: len(finals)]
        while client.of("chat.complete")[-1]["interrupted"]:
            await client.until("chat.complete", within_s=30)
    assert match(TEXT, model.requests[-1]["messages"][-1]["content"]) == 1.0, "what is answered is what was said"
    assert heard_s(client) > 1.0
