"""The realtime protocol over a real socket: ways in, conversations, limits, and clients that behave badly."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from realtime_client import realtime, speech_24k
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from agents.models.port import ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from metering.sqlite_ledger import SqliteLedger
from tests.scripted_server import EchoModel, eventually, scripted_engines, served

KEY = "a-long-random-secret"
KEYED = {"api_keys": [KEY]}
BY_HAND = {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}
LOOKUP = {"type": "function", "name": "lookup", "parameters": {"type": "object"}}


async def test_real_speech_is_answered_aloud_and_metered(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        await client.speak()
        done = await client.until("response.done")
        assert done["response"]["status"] == "completed"
        audio = b"".join(
            base64.b64decode(event["delta"])
            for event in client.events
            if event["type"] == "response.output_audio.delta"
        )
        assert len(audio) > 24_000
        ledger = SqliteLedger(tmp_path / "usage.sqlite3")
        await eventually(lambda: ledger.totals is not None)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/realtime?model=m",
        "/openai/v1/realtime?model=m",
        "/openai/realtime?api-version=2025-04-01&deployment=m",
    ],
)
async def test_every_path_leads_to_a_session_with_the_model_named_in_it(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as server, realtime(server.url, path) as client:
        assert client.events[0]["session"]["model"] == "m"


@pytest.mark.parametrize(
    "how",
    [
        {"additional_headers": {"Authorization": f"Bearer {KEY}"}},
        {"additional_headers": {"api-key": KEY}},
        {"subprotocols": ["realtime", f"openai-insecure-api-key.{KEY}"]},
    ],
)
async def test_a_key_is_taken_wherever_clients_put_it(tmp_path: Path, how: dict[str, Any]) -> None:
    async with served(tmp_path, **KEYED) as server, realtime(server.url, **how) as client:
        offered = how.get("subprotocols")
        assert client.ws.subprotocol == ("realtime" if offered else None)


async def test_without_a_key_nobody_gets_in(tmp_path: Path) -> None:
    async with served(tmp_path, **KEYED) as server:
        for path in ("/v1/realtime", "/openai/v1/realtime", "/openai/realtime"):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws{server.url[4:]}{path}?model=m", proxy=None):
                    pass
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body)["error"]["code"] == "auth.invalid"


async def test_a_client_secret_opens_one_session_once_as_configured(tmp_path: Path) -> None:
    async with served(tmp_path, **KEYED) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            session = {"type": "realtime", "instructions": "Be brief."}
            body = {"session": session, "expires_after": {"anchor": "created_at", "seconds": 600}}
            minted = await http.post(
                "/v1/realtime/client_secrets", json=body, headers={"Authorization": f"Bearer {KEY}"}
            )
            secret = minted.json()
            assert secret["value"].startswith("ek_")
            assert secret["session"]["instructions"] == "Be brief."
            listed = await http.get("/v1/agents", headers={"Authorization": f"Bearer {secret['value']}"})
            assert listed.status_code == 401  # it opens nothing else
        how = {"additional_headers": {"Authorization": f"Bearer {secret['value']}"}}
        async with realtime(server.url, **how) as client:
            assert client.events[0]["session"]["instructions"] == "Be brief."
        with pytest.raises(InvalidStatus):
            async with realtime(server.url, **how):
                pass


async def test_a_secret_that_opened_nothing_may_be_used_again(tmp_path: Path) -> None:
    async with served(tmp_path, **KEYED, limits={"max_sessions": 1}) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            keyed = {"Authorization": f"Bearer {KEY}"}
            minted = await http.post("/v1/realtime/client_secrets", json={}, headers=keyed)
            how = {"Authorization": f"Bearer {minted.json()['value']}"}
            bad = await http.post(
                "/v1/realtime/calls", content="no sdp", headers=how | {"Content-Type": "application/sdp"}
            )
            assert bad.status_code == 400
        async with realtime(server.url, additional_headers={"api-key": KEY}):
            with pytest.raises(InvalidStatus) as full:
                async with realtime(server.url, additional_headers=how):
                    pass
            assert full.value.response.status_code == 503
        await eventually(lambda: len(server.application.host.registry) == 0)
        async with realtime(server.url, additional_headers=how):
            pass


async def test_a_secret_for_a_session_that_cannot_be_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as server, httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/v1/realtime/client_secrets", json={"session": {"type": "realtime", "colour": "red"}})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "session.colour"


async def test_a_running_call_cannot_be_joined(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        with pytest.raises(InvalidStatus) as refused:
            async with realtime(server.url, "/v1/realtime?call_id=rtc_1"):
                pass
        assert refused.value.response.status_code == 404


async def test_push_to_talk_is_transcribed_and_answered_when_asked(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        await client.say("session.update", session={"type": "realtime", "audio": BY_HAND})
        await client.speak(speech_24k(silence_s=0))
        await client.say("input_audio_buffer.commit")
        await client.say("response.create", response={"output_modalities": ["text"]})
        done = await client.until("response.done")
        completed = [e for e in client.events if e["type"].endswith("input_audio_transcription.completed")]
        assert [event["transcript"] for event in completed] == ["Go forward ten meters."]
        assert done["response"]["output"][0]["content"][0]["text"] == "You said: Go forward ten meters.."


async def test_a_whole_clip_in_one_message_is_heard(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        await client.say("session.update", session={"type": "realtime", "audio": BY_HAND})
        clip = speech_24k(silence_s=0)
        long = clip * (1 + 1_500_000 // len(clip))
        await client.say("input_audio_buffer.append", audio=base64.b64encode(long).decode())
        await client.say("input_audio_buffer.commit")
        await client.until("input_audio_buffer.committed")


async def test_a_function_call_goes_to_the_client_and_its_result_comes_back(tmp_path: Path) -> None:
    call = ScriptedReply("", (ToolRequest("call_9", "lookup", '{"word": "cat"}'),))
    model = ScriptedModel(call, "An animal.")
    async with served(tmp_path, scripted_engines(model)) as server, realtime(server.url) as client:
        await client.say("session.update", session={"type": "realtime", "tools": [LOOKUP]})
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is a cat?"}]}
        await client.say("conversation.item.create", item=item)
        await client.say("response.create")
        call_done = await client.until("response.function_call_arguments.done")
        output = {"type": "function_call_output", "call_id": call_done["call_id"], "output": '{"kind": "animal"}'}
        await client.say("conversation.item.create", item=output)
        await client.say("response.create")
        await client.until("response.done")
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "An animal."
        assert model.requests[1].messages[-1].text == '{"kind": "animal"}'
        assert "error" not in client.kinds()


async def test_cancelling_stops_the_audio_and_says_so(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "word " * 200}]}
        await client.say("conversation.item.create", item=item)
        await client.say("response.create")
        await client.until("response.output_audio.delta")
        await client.say("response.cancel")
        done = await client.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}


async def test_recorded_speech_in_an_item_is_answered_by_its_words(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        audio = base64.b64encode(speech_24k(silence_s=0)).decode()
        item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}], "id": "mine"}
        await client.say("session.update", session={"type": "realtime", "audio": BY_HAND})
        await client.say("conversation.item.create", item=item)
        await client.say("response.create", response={"output_modalities": ["text"]})
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["text"] == "You said: Go forward ten meters.."
        [told] = [e for e in client.events if e["type"] == "conversation.item.input_audio_transcription.completed"]
        assert (told["item_id"], told["transcript"]) == ("mine", "Go forward ten meters.")
        assert 1 < told["usage"]["seconds"] < 4


async def test_extras_come_to_those_who_ask_in_the_query(tmp_path: Path) -> None:
    path = "/v1/realtime?model=m&convergio_extras=captions,latency,nonsense"
    async with served(tmp_path) as server, realtime(server.url, path) as client:
        await client.speak()
        await client.until("response.done")
        assert {"convergio.caption", "convergio.turn.latency"} <= set(client.kinds())
    async with served(tmp_path) as server, realtime(server.url) as client:
        await client.speak()
        await client.until("response.done")
        assert not [kind for kind in client.kinds() if kind.startswith("convergio.")]


# --- limits, and clients that behave badly ----------------------------------------------------------------------------


async def test_garbage_is_answered_and_too_much_of_it_ends_the_connection(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        for _ in range(20):
            await client.ws.send("garbage")
        assert await client.closed() == 4400
        assert client.kinds().count("error") == 20


async def test_the_greeting_comes_before_any_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        for _ in range(10):
            async with connect(f"ws{server.url[4:]}/v1/realtime?model=m", proxy=None) as ws:
                await ws.send("garbage")
                kinds = [json.loads(await ws.recv())["type"] for _ in range(3)]
                assert kinds == ["session.created", "conversation.created", "error"]


async def test_binary_garbage_is_answered(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        await client.ws.send(b"\xff\xfe\x00")
        assert (await client.until("error"))["error"]["code"] == "invalid_json"


async def test_a_stream_cut_in_the_middle_of_a_sample_is_heard_whole(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        await client.say("session.update", session={"type": "realtime", "audio": BY_HAND})
        audio = speech_24k(silence_s=0)
        for start in range(0, len(audio), 4_801):
            chunk = base64.b64encode(audio[start : start + 4_801]).decode()
            await client.say("input_audio_buffer.append", audio=chunk)
        await client.say("input_audio_buffer.commit")
        told = await client.until("conversation.item.input_audio_transcription.completed")
        assert told["usage"]["seconds"] == pytest.approx(len(audio) / 48_000, abs=0.01)
        assert "error" not in client.kinds()


async def test_no_message_at_all_ends_the_session(tmp_path: Path) -> None:
    odd: list[Any] = [None, 5, "x", [], {}, {"input": None}, {"type": "message", "role": "user", "content": []}]
    async with served(tmp_path) as server, realtime(server.url) as client:
        for value in odd:
            for field, kind in (
                ("session", "session.update"),
                ("item", "conversation.item.create"),
                ("response", "response.create"),
                ("item_id", "conversation.item.truncate"),
                ("audio", "input_audio_buffer.append"),
            ):
                await client.say(kind, **{field: value, "audio_end_ms": 1})
            for name in ("audio", "tools", "tool_choice", "truncation", "include", "output_modalities", "prompt"):
                await client.say("session.update", session={"type": "realtime", name: value})
                await client.say("input_audio_buffer.clear")
        await client.say("conversation.item.retrieve", item_id="the_end", event_id="the_end")
        while (await client.until("error"))["error"].get("event_id") != "the_end":
            pass
        assert all(event["error"]["code"] != "internal" for event in client.events if event["type"] == "error")


async def test_a_message_that_is_too_large_ends_the_connection(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        with suppress(ConnectionClosed), anyio.fail_after(10):
            await client.say("input_audio_buffer.append", audio="A" * (16 * 1024 * 1024))
        with anyio.fail_after(10):
            await client.ws.wait_closed()
        assert client.ws.close_code in {1006, 4413}  # it may be gone before its word is read


async def test_a_disconnect_mid_word_leaves_nothing_behind(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        async with realtime(server.url) as client:
            await client.speak(speech_24k()[:48_000])
            client.ws.transport.abort()
        await eventually(lambda: len(server.application.host.registry) == 0)


async def test_a_session_that_is_too_old_ends_with_a_word(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"session_minutes": 1}) as server, realtime(server.url) as client:
        [live] = server.application.host.registry._live.values()
        live.born_at_s -= 61
        assert await client.closed() == 4410
        assert client.events[-1]["error"]["code"] == "session_expired"


async def test_one_key_has_no_more_sessions_than_its_share(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"max_sessions_per_key": 1}) as server, realtime(server.url):
        with pytest.raises(InvalidStatus) as refused:
            async with realtime(server.url):
                pass
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["retry-after"]) > 0


async def test_a_full_server_says_when_to_come_back(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"max_sessions": 1}) as server, realtime(server.url):
        with pytest.raises(InvalidStatus) as refused:
            async with realtime(server.url):
                pass
        assert refused.value.response.status_code == 503


async def test_responses_have_a_limit_per_minute(tmp_path: Path) -> None:
    async with served(tmp_path, limits={"responses_per_minute": 1}) as server, realtime(server.url) as client:
        await client.say("response.create", response={"output_modalities": ["text"]})
        limits = (await client.until("rate_limits.updated"))["rate_limits"]
        assert (limits[0]["limit"], limits[0]["remaining"]) == (1, 0)
        await client.until("response.done")
        await client.say("response.create", event_id="second")
        error = (await client.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("rate_limited", "second")


async def test_a_failing_model_fails_the_response_and_the_session_goes_on(tmp_path: Path) -> None:
    engines = scripted_engines(EchoModel(error=RuntimeError("boom")))
    async with served(tmp_path, engines) as server, realtime(server.url) as client:
        await client.say("response.create")
        done = await client.until("response.done")
        assert done["response"]["status"] == "failed"
        await client.say("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")


async def test_a_realtime_session_cannot_be_resumed_over_another_socket(tmp_path: Path) -> None:
    async with served(tmp_path) as server, realtime(server.url) as client:
        session_id = client.events[0]["session"]["id"]
        async with connect(server.voice_url, proxy=None) as ws:
            await ws.send(json.dumps({"type": "session.resume", "session_id": session_id, "last_event_id": 0}))
            assert json.loads(await ws.recv())["code"] == "session.not_found"
