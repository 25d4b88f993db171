"""Conversations as traces, from a real server to a real OTLP receiver in another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from otlp_receiver import Collector, collector
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from test_webrtc_calls import Caller
from voice_socket import Client, begun, joined
from websockets.asyncio.client import connect

from agents.core.options import Engines
from agents.errors import ModelUnavailable
from agents.loop.agent import Agent
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.openai_compatible import OpenAICompatibleConfig, OpenAICompatibleModel
from agents.models.port import ModelProfile
from agents.models.scripted import ScriptedModel, ScriptedReply
from audio.tts.scripted_stream import ScriptedTextStreaming
from audio.wav import read_wav
from tests.agents.fake_chat_server import DONE, STOP, chunk, running_server, usage
from tests.scripted_server import ScriptedEngines, Served, scripted_engines, served

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech" / "goforward.wav"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENTS_SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CLIENTS_SPAN}-01"

Span = dict[str, Any]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as running:
        yield running


def tracing(receiver: Collector, **settings: Any) -> dict[str, Any]:
    """The settings of a server that sends its spans there at once."""
    return {"enabled": True, "endpoint": receiver.endpoint, "schedule_delay_s": 0.05, **settings}


async def spans_of(receiver: Collector, session_id: str) -> list[Span]:
    """All spans of a conversation, once its last one (the session's own) is there."""

    def complete(spans: list[Span]) -> bool:
        return any(span["attributes"].get("session.id") == session_id for span in spans)

    spans = await anyio.to_thread.run_sync(receiver.spans, complete)
    (session,) = [span for span in spans if span["attributes"].get("session.id") == session_id]
    return [span for span in spans if span["trace"] == session["trace"]]


def named(spans: list[Span], name: str) -> Span:
    (span,) = [span for span in spans if span["name"] == name]
    return span


async def speak(client: Client) -> None:
    samples, _ = read_wav(SPEECH)
    audio = samples.tobytes() + bytes(2 * 16_000)
    await client.send_audio(audio[start : start + 3_200] for start in range(0, len(audio), 3_200))


async def leave(client: Client) -> str:
    await client.say("voice.stop")
    await client.closed()
    return client.session_id


async def test_a_spoken_turn_is_a_tree_from_the_clients_span_to_every_engine(
    tmp_path: Path, receiver: Collector
) -> None:
    headers = {"traceparent": PARENT, "tracestate": "vendor=1"}
    telemetry = tracing(receiver, headers="api-key=collector%20secret", compression="gzip")
    async with served(tmp_path, telemetry=telemetry) as server:
        async with joined(server.voice_url, additional_headers=headers) as client:
            await client.say("voice.start", binary=True)
            await client.until("session.started")
            await speak(client)
            done = await client.until("chat.complete")
            session_id = await leave(client)
        spans = await spans_of(receiver, session_id)
    session, turn = named(spans, "session"), named(spans, "invoke_agent Convergio")
    assert (session["trace"], session["parent"], session["state"]) == (TRACE, CLIENTS_SPAN, "vendor=1")
    assert session["attributes"]["convergio.transport"] == "websocket"
    assert named(spans, "connect")["parent"] == session["id"]
    assert turn["parent"] == session["id"]
    assert turn["attributes"]["convergio.turn.id"] == done["request_id"]
    assert turn["attributes"]["gen_ai.conversation.id"] == session_id
    assert turn["attributes"]["gen_ai.usage.output_tokens"] == 4
    for stage in ("endpoint", "stt", "agent", "tts", "egress"):
        assert named(spans, stage)["parent"] == turn["id"], stage
        assert turn["start"] <= named(spans, stage)["start"] <= named(spans, stage)["end"] <= turn["end"], stage
    chat = named(spans, "chat echo")
    assert chat["parent"] == named(spans, "agent")["id"]
    assert chat["kind"] == 3  # CLIENT
    asked = {name: chat["attributes"][name] for name in chat["attributes"] if name.startswith("gen_ai.")}
    assert asked.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert asked == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.model": "echo",
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "text",
        "gen_ai.conversation.id": session_id,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 4,
    }
    speech = [span for span in spans if span["name"].startswith("text_to_speech ")]
    assert {span["parent"] for span in speech} == {named(spans, "tts")["id"]}
    (recognition,) = [span for span in spans if span["name"].startswith("speech_to_text ")]
    assert recognition["parent"] == named(spans, "stt")["id"]
    assert session["resource"]["service.name"] == "convergio-voice"
    assert "forward" not in json.dumps(spans).lower(), "words people say are in no span"
    assert receiver.received()["headers"][-1]["api-key"] == "collector secret"


@dataclass
class StandingIn(ScriptedEngines):
    """Engines whose voice speaks while text is written."""

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        return replace(super().for_sessions(simple_language=simple_language), tts=ScriptedTextStreaming())


async def test_the_model_that_answered_is_named_and_a_streamed_reply_is_one_request(
    tmp_path: Path, receiver: Collector
) -> None:
    down = ScriptedReply(failure=ModelUnavailable("It is away.", provider="azure_openai"))
    first = ScriptedModel(down, profile=ModelProfile("azure_openai", "gpt-x"))
    models = FallbackModel([GuardedModel(first), GuardedModel(ScriptedModel("One thing. And then another thing."))])
    spec = replace(scripted_engines().agent.spec, greeting=None)
    engines = StandingIn(Agent(spec, models))
    engines.loaded.set()
    async with served(tmp_path, engines, telemetry=tracing(receiver)) as server:
        async with joined(server.voice_url) as client:
            await client.say("voice.start", binary=True)
            await client.until("session.started")
            await speak(client)
            await client.until("chat.complete")
            session_id = await leave(client)
        spans = await spans_of(receiver, session_id)
    failed, answered = named(spans, "chat gpt-x"), named(spans, "chat scripted")
    assert (failed["error"], failed["attributes"]["gen_ai.provider.name"]) == (
        "provider.unavailable",
        "azure.ai.openai",
    )
    assert answered["attributes"]["gen_ai.provider.name"] == "scripted"
    assert named(spans, "agent")["attributes"]["gen_ai.request.model"] == "scripted"
    assert failed["end"] <= answered["start"]
    (speech,) = [span for span in spans if span["name"].startswith("text_to_speech ")]
    assert speech["attributes"]["convergio.tts.characters"] == len("One thing. And then another thing.")


async def test_words_are_in_spans_only_where_transcripts_are_on(tmp_path: Path, receiver: Collector) -> None:
    settings = {"telemetry": tracing(receiver), "log": {"transcripts": True}}
    async with served(tmp_path, **settings) as server:
        async with begun(server) as client:
            await client.say("chat.start", prompt="what is new?")
            await client.until("chat.complete")
            session_id = await leave(client)
        turn = named(await spans_of(receiver, session_id), "invoke_agent Convergio")
    assert json.loads(turn["attributes"]["gen_ai.input.messages"])[0]["parts"][0]["content"] == "what is new?"
    assert "You said" in turn["attributes"]["gen_ai.output.messages"]


async def test_the_trace_goes_on_in_the_models_http_request(tmp_path: Path, receiver: Collector) -> None:
    async with running_server() as chat_server:
        chat_server.answer(chunk("Good morning."), STOP, usage(), DONE)
        model = OpenAICompatibleModel(OpenAICompatibleConfig("gpt-x", chat_server.url, tools=False))
        async with served(tmp_path, scripted_engines(model), telemetry=tracing(receiver)) as server:
            async with joined(server.voice_url, additional_headers={"traceparent": PARENT}) as client:
                await client.say("voice.start")
                await client.until("session.started")
                await client.say("chat.start", prompt="hello")
                await client.until("chat.complete")
                session_id = await leave(client)
            spans = await spans_of(receiver, session_id)
        await model.aclose()
    turn = next(span for span in reversed(spans) if span["name"] == "invoke_agent Convergio")
    assert chat_server.requests[0].headers["traceparent"] == f"00-{TRACE}-{turn['id']}-01"
    chat = named(spans, "chat gpt-x")
    assert chat["attributes"]["gen_ai.usage.cache_read.input_tokens"] == 4


async def test_a_question_over_http_is_traced_too_and_a_failure_is_an_error(
    tmp_path: Path, receiver: Collector
) -> None:
    reply = ScriptedReply("One two", failure=ModelUnavailable("It broke off.", provider="scripted"))
    parent = f"00-{'1' * 31}2-{CLIENTS_SPAN}-01"
    async with served(tmp_path, scripted_engines(ScriptedModel(reply)), telemetry=tracing(receiver)) as server:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            await http.post("/v1/chat", json={"prompt": "count"}, headers={"traceparent": parent})

        def complete(spans: list[Span]) -> bool:
            return any(span["name"] == "session" and span["trace"] == parent[3:35] for span in spans)

        spans = await anyio.to_thread.run_sync(receiver.spans, complete)
    spans = [span for span in spans if span["trace"] == parent[3:35]]
    session, turn = named(spans, "session"), named(spans, "invoke_agent Convergio")
    assert (session["parent"], session["error"]) == (CLIENTS_SPAN, "provider.unavailable")
    assert turn["error"] == "provider.unavailable"


@pytest.mark.parametrize("sent", [f"00-{TRACE}-{CLIENTS_SPAN}-00", "00-broken"])
async def test_what_is_not_sampled_is_not_sent(tmp_path: Path, receiver: Collector, sent: str) -> None:
    async with served(tmp_path, telemetry=tracing(receiver, sample_ratio=0.0)) as server:
        async with joined(server.voice_url, additional_headers={"traceparent": sent}) as client:
            await client.say("voice.start")
            await client.until("session.started")
            await client.say("chat.start", prompt="hello")
            await client.until("chat.complete")
            await leave(client)
        assert await metric(server, 'convergio_spans_total{fate="made"}') == 0


async def test_a_collector_that_is_away_costs_spans_and_nothing_else(tmp_path: Path) -> None:
    telemetry = {
        "enabled": True,
        "endpoint": "http://127.0.0.1:9/v1/traces",
        "schedule_delay_s": 0.05,
        "timeout_s": 0.1,
    }
    async with served(tmp_path, telemetry=telemetry) as server:
        async with begun(server) as client:
            await client.say("chat.start", prompt="hello")
            done = await client.until("chat.complete")
            await leave(client)
        assert done["text"] == "You said: hello."
        with anyio.fail_after(20):
            while not await metric(server, 'convergio_spans_total{fate="failed"}'):  # noqa: ASYNC110 - another thread's
                await anyio.sleep(0.05)


async def test_every_transport_is_told_apart(tmp_path: Path) -> None:
    """Connecting is measured on each; the usage events of those that answered name it, too."""
    paths = {"realtime": "/v1/realtime?model=default", "voice_live": "/voice-live/realtime?model=default"}
    async with served(tmp_path) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        for path in paths.values():
            async with connect(f"ws{server.url.removeprefix('http')}{path}", proxy=None) as socket:
                assert json.loads(await socket.recv())["type"] == "session.created"
        async with joined(server.chat_url) as client:
            await client.say("chat.start", prompt="hello")
            await client.until("chat.complete")
        await http.post("/v1/chat", json={"prompt": "hello"})
        caller = Caller()
        assert (await caller.call(http)).status_code == 201
        await caller.ready()
        caller.send(type="voice.start")
        await caller.until("session.started")
        caller.send(type="voice.stop")
        await caller.connection.close()
        for transport in ("realtime", "voice_live", "chat", "webrtc"):
            labels = f'provider="none",stage="connect",transport="{transport}"'
            assert await metric(server, f"convergio_turn_stage_seconds_count{{{labels}}}") == 1, transport
        report = (await http.get("/v1/latency/report", params={"turns": "9"})).json()
    assert {turn["transport"] for turn in report["recent"]} == {"chat", "http"}


async def test_a_measurement_leads_to_its_trace(tmp_path: Path, receiver: Collector) -> None:
    async with served(tmp_path, telemetry=tracing(receiver)) as server:
        async with joined(server.voice_url, additional_headers={"traceparent": PARENT}) as client:
            await client.say("voice.start", binary=True)
            await client.until("session.started")
            await speak(client)
            await client.until("chat.complete")
            await leave(client)
        plain = await exposition(server)
        openmetrics = await exposition(server, "application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert "trace_id" not in plain
    measured = {
        (sample.labels["stage"], sample.labels["provider"], sample.labels["transport"])
        for family in text_string_to_metric_families(openmetrics)
        for sample in family.samples
        if sample.exemplar is not None and sample.exemplar.labels["trace_id"] == TRACE
    }
    assert {("tts", "scripted", "websocket"), ("total", "none", "websocket")} <= measured
    assert ("connect", "none", "websocket") in measured


async def exposition(server: Served, accept: str = "text/plain") -> str:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        return (await http.get("/metrics", headers={"Accept": accept})).text


async def metric(server: Served, name: str) -> float:
    for line in (await exposition(server)).splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"there is no metric {name}")
