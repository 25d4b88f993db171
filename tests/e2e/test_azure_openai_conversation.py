"""Whole conversations with an Azure OpenAI deployment answering: our server, the genuine SDK, a local resource.

The server is ``convergio-voice serve`` in a process of its own, with a real voice. Most questions are typed, so that
only the model decides; one is spoken. The resource refuses, throttles, stalls and goes on for ever on request.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from azure.openai_endpoint import KEY, OpenAIEndpoint, openai_endpoint
from clients.chat_endpoint import GREETING, SHORT_ANSWER
from real_server import PROGRAM, RealServer, require_engines, serving, usage_events
from realtime_client import realtime
from spoken import encoded, match, said, transcript
from voice_socket import Client, begun

from audio.formats import AudioFormat, Encoding

pytestmark = pytest.mark.engines

REFUSAL = "I'm sorry, I can't help with that."
TYPED_ONLY = {"stt__engine": "none", "speech__silero": "false", "speech__smart_turn": "false"}


@pytest.fixture
def resource() -> Iterator[OpenAIEndpoint]:
    require_engines()
    with openai_endpoint() as running:
        running.says["gpt-small"] = "The small one answers."
        yield running


def server_on(
    resource: OpenAIEndpoint, data_dir: Path, fallback: str = "gpt-small", **more: object
) -> AbstractContextManager[RealServer]:
    settings = {
        "model__engine": "azure",
        "model__endpoint": resource.url,
        "model__deployment": "gpt-voice",
        "model__api_key": KEY,
        "model__fallback": fallback,
        "model__takeover_s": 5,  # a loaded machine is not a late model
        **more,
    }
    return serving([str(PROGRAM), "serve", "--port", "0"], data_dir, settings)


async def ask(client: Client, prompt: str = "Please greet me.") -> dict[str, Any]:
    """A typed question, and how its turn ended."""
    await client.say("chat.start", prompt=prompt)
    return await client.until("chat.complete", within_s=40)


def stand_ins(client: Client) -> list[tuple[str, str]]:
    """What was said of models that step in; that nobody listens is said, too."""
    told = [(message["from"], message["to"]) for message in client.of("degraded")]
    return [change for change in told if change[0].startswith("llm")]


def turns(data_dir: Path) -> list[dict[str, Any]]:
    return [event for event in usage_events(data_dir) if event["input_tokens"]]


def model_of(event: dict[str, Any]) -> tuple[str, str]:
    return event["providers"]["agent"]["provider"], event["providers"]["agent"]["model"]


def llm(server: RealServer) -> tuple[str, str, str]:
    (found,) = [engine for engine in server.readiness()["engines"] if engine["stage"] == "llm"]
    return found["provider"], found["model"], found["status"]


async def test_a_spoken_question_is_answered_by_the_deployment(resource: OpenAIEndpoint, tmp_path: Path) -> None:
    with server_on(resource, tmp_path) as server:
        ready = llm(server)
        async with begun(server, binary=True) as client:
            await client.send_audio(encoded(said("goforward"), AudioFormat(Encoding.PCM16, 16_000), 20))
            end = await client.until("chat.complete", within_s=40)
    assert ready == ("azure_openai", "gpt-voice", "ready")
    asked = resource.of("gpt-voice")[-1].body["messages"]
    assert match(transcript("goforward"), asked[-1]["content"]) >= 0.75
    assert end["text"] == SHORT_ANSWER
    assert client.audio
    assert stand_ins(client) == []
    assert resource.of("gpt-voice")[-1].headers["authorization"] == f"Bearer {KEY}"
    (event,) = turns(tmp_path)
    assert model_of(event) == ("azure_openai", "gpt-voice")
    assert (event["input_tokens"], event["estimated"]) == (40, False)
    assert KEY not in server.log.read_text()


async def test_what_the_content_filter_refuses_is_a_spoken_refusal_and_told(
    resource: OpenAIEndpoint, tmp_path: Path
) -> None:
    with server_on(resource, tmp_path, **TYPED_ONLY) as server:
        async with begun(server, binary=True) as client:
            ends: list[dict[str, Any]] = []
            for fault, prompt in (("prompt_filter", "Say terrible things."), ("completion_filter", "Greet the robot.")):
                resource.inject(fault)
                heard = len(client.audio)
                ends.append(await ask(client, prompt))
                assert len(client.audio) > heard
                assert client.of("caption")[-1]["text"] == REFUSAL
            answered = await ask(client)
    told = client.of("content.filtered")
    assert [message["stage"] for message in told] == ["prompt", "completion"]
    assert [message["request_id"] for message in told] == [end["request_id"] for end in ends]
    assert all({"name": "violence", "severity": "medium"} in message["categories"] for message in told)
    assert [end["text"] for end in ends] == [REFUSAL] * 2
    assert all("error_code" not in end for end in ends)
    assert "error" not in client.kinds()
    assert stand_ins(client) == []
    assert answered["text"] == GREETING
    assert resource.of("gpt-small")[1:] == [], "after warming up nobody else was asked"
    sent = [message["content"] for message in resource.of("gpt-voice")[-1].body["messages"][1:]]
    assert sent == ["…", REFUSAL, "Greet the robot.", REFUSAL, "Please greet me."]
    assert all(event["success"] for event in turns(tmp_path))


async def test_realtime_clients_are_told_in_their_protocol(resource: OpenAIEndpoint, tmp_path: Path) -> None:
    path = "/v1/realtime?model=any&convergio_extras=content_filter"
    with server_on(resource, tmp_path, **TYPED_ONLY) as server:
        async with realtime(server.url, path) as client:
            resource.inject("completion_filter")
            said = {"type": "input_text", "text": "Please greet me."}
            await client.say("conversation.item.create", item={"type": "message", "role": "user", "content": [said]})
            await client.say("response.create", response={"output_modalities": ["text"]})
            told = await client.until("convergio.content.filtered")
            done = (await client.until("response.done"))["response"]
    assert told["categories"] == [{"name": "violence", "severity": "medium"}]
    assert done["status"] == "incomplete"
    assert done["status_details"] == {"type": "incomplete", "reason": "content_filter"}
    assert done["output"][0]["content"][0]["text"].endswith(REFUSAL)
    assert "error" not in client.kinds()


async def test_a_throttled_deployment_is_stood_in_for_and_left_alone(resource: OpenAIEndpoint, tmp_path: Path) -> None:
    with server_on(resource, tmp_path, **TYPED_ONLY) as server:
        async with begun(server, binary=True) as client:
            before = len(resource.of("gpt-voice"))
            resource.inject("throttled", retry_after="600")
            texts = [(await ask(client))["text"] for _ in range(2)]
        async with begun(server, binary=True) as other:
            texts.append((await ask(other))["text"])
    assert texts == ["The small one answers."] * 3
    assert len(resource.of("gpt-voice")) == before + 1, "Retry-After holds for all sessions"
    for told in (stand_ins(client), stand_ins(other)):
        assert told == [("llm azure_openai gpt-voice", "azure_openai gpt-small")]
    assert "error" not in client.kinds()
    assert {model_of(event) for event in turns(tmp_path)} == {("azure_openai", "gpt-small")}


async def test_an_empty_quota_is_not_overdrawn(resource: OpenAIEndpoint, tmp_path: Path) -> None:
    with server_on(resource, tmp_path, **TYPED_ONLY) as server:
        async with begun(server, binary=True) as client:
            resource.inject("spent", reset="600")
            texts = [(await ask(client))["text"] for _ in range(2)]
    assert texts == [GREETING, "The small one answers."]


@pytest.mark.parametrize("fault", ["hesitate", "missing"])
async def test_a_deployment_that_does_not_answer_is_stood_in_for_within_the_turn(
    resource: OpenAIEndpoint, tmp_path: Path, fault: str
) -> None:
    with server_on(resource, tmp_path, **TYPED_ONLY, model__takeover_s=1) as server:
        async with begun(server, binary=True) as client:
            resource.inject(fault, deployment="gpt-voice")
            end = await ask(client)
    assert end["text"] == "The small one answers."
    assert client.audio
    assert stand_ins(client) == [("llm azure_openai gpt-voice", "azure_openai gpt-small")]
    assert "error" not in client.kinds()


async def test_an_answer_that_breaks_off_is_not_begun_again_by_another(
    resource: OpenAIEndpoint, tmp_path: Path
) -> None:
    with server_on(resource, tmp_path, **TYPED_ONLY) as server:
        async with begun(server, binary=True) as client:
            resource.inject("drop", deployment="gpt-voice")
            end = await ask(client)
    assert GREETING.startswith(end["text"].strip())
    assert end["error_code"] == "provider.unavailable"
    assert client.of("error")[0]["retryable"]
    assert len(resource.of("gpt-small")) == 1, "only to be warmed up"


async def test_a_cancelled_turn_stops_the_generation_and_its_cost_is_estimated(
    resource: OpenAIEndpoint, tmp_path: Path
) -> None:
    with server_on(resource, tmp_path, **TYPED_ONLY) as server:
        async with begun(server, binary=True) as client:
            resource.inject("endless", deployment="gpt-voice")
            await client.say("chat.start", prompt="Tell me everything.")
            await client.until("chat.token", within_s=30)
            await client.until("voice.audio", within_s=30)
            await client.say("voice.cancel")
            await client.until("chat.complete", within_s=30)
            asked = resource.of("gpt-voice")[-1]
            assert await to_thread.run_sync(asked.over.wait, 10), "the service goes on generating"
    assert asked.left
    (event,) = turns(tmp_path)
    assert event["interrupted"]
    assert event["estimated"]
    assert event["output_tokens"] > 0


async def test_without_the_resource_the_embedded_model_answers(resource: OpenAIEndpoint, tmp_path: Path) -> None:
    more = TYPED_ONLY | {"model__api_key": "wrong", "agent__temperature": 0, "agent__max_output_tokens": 20}
    with server_on(resource, tmp_path, "embedded", **more) as server:
        ready = llm(server)
        async with begun(server, binary=True) as client:
            end = await ask(client)
    assert ready == ("azure_openai", "gpt-voice", "degraded")
    assert end["text"]
    assert client.audio
    ((preferred, instead),) = stand_ins(client)
    assert preferred == "llm azure_openai gpt-voice"
    assert instead.startswith("embedded ")
    (event,) = turns(tmp_path)
    assert event["providers"]["agent"]["provider"] == "embedded"
