"""Calls over Twilio's media streams, through a real server: signed, spoken, heard, interrupted, broken off anywhere."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import httpx
import pytest
from phone_carrier import PUBLIC, TELEPHONY, TOKEN, TwilioCarrier, signed, twilio_call
from spoken import said
from twilio.request_validator import RequestValidator
from websockets.exceptions import InvalidStatus

from agents.core.session import Session
from agents.models.port import LanguageModel, ModelProfile, ToolRequest
from agents.models.scripted import ScriptedModel, ScriptedReply
from audio.formats import Samples
from server.loop_load import LoopLoad
from server.sessions.live import LiveSession
from server.telephony.conversation import PhoneConversation
from server.telephony.twilio.signature import is_signed, signature
from server.transports.phone.stream_leg import StreamLeg
from tests.scripted_server import Served, eventually, scripted_engines, served

TOOLS = ModelProfile("scripted", "tools", tools=True)
LONG = "This is a long answer that goes on for quite some time. " * 6


@asynccontextmanager
async def server(tmp_path: Path, model: LanguageModel | None = None, **changes: Any) -> AsyncGenerator[Served]:
    telephony = {**TELEPHONY, **changes}
    async with served(tmp_path, scripted_engines(model), telephony=telephony, latency={"enforce": False}) as one:
        yield one
        await eventually(lambda: len(one.application.host.registry) == 0, 20)
        await eventually(lambda: len(one.application.phones._running) == 0, 20)


async def ready(call: TwilioCarrier) -> None:
    """The greeting has been heard."""
    await call.until_heard(600)
    await eventually(lambda: not call.buffered)


# --- signatures ---


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://voice.example.org/v1/phone/twilio/voice", {"CallSid": "CA1", "From": "+1 555", "Empty": ""}),
        ("https://voice.example.org:443/v1/phone/twilio/voice?call_id=call_1", {"B": "2", "A": "1"}),
        ("https://voice.example.org:8443/x", {}),
        ("wss://voice.example.org/v1/phone/twilio", {}),
    ],
)
def test_signatures_are_those_of_twilios_own_library(url: str, form: dict[str, str]) -> None:
    official = RequestValidator(TOKEN)
    ours = {name: [value] for name, value in form.items()}
    assert signature(TOKEN, url, ours) == official.compute_signature(url, form)
    assert is_signed(TOKEN, url, official.compute_signature(url, form), ours)
    assert official.validate(url, form, signature(TOKEN, url, ours))
    assert not is_signed(TOKEN, url, official.compute_signature(f"{url}x", form), ours)
    assert not is_signed(TOKEN, url, None, ours)
    assert not is_signed("another" * 5, url, official.compute_signature(url, form), ours)


async def test_a_stream_that_is_not_signed_is_refused(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        for headers in ({}, {"X-Twilio-Signature": "x"}, signed("wss://elsewhere.example.org/v1/phone/twilio")):
            with pytest.raises(InvalidStatus) as refused:
                async with twilio_call(one.url, headers=headers):
                    pass
            assert refused.value.response.status_code == 401


async def test_where_twilio_is_not_set_up_there_is_no_such_stream(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        with pytest.raises(InvalidStatus) as refused:
            async with twilio_call(one.url):
                pass
        assert refused.value.response.status_code == 404


# --- TwiML ---


async def post(one: Served, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
    given = headers or signed(f"{PUBLIC}{path}", form)
    async with httpx.AsyncClient(base_url=one.url, trust_env=False, timeout=10) as http:
        return await http.post(path, data=form, headers={"Host": "voice.example.org", **given})


async def test_a_call_is_connected_with_the_stream(tmp_path: Path) -> None:
    form = {"CallSid": "CA1", "From": "+15550100123", "To": "+15550100999", "CallStatus": "ringing"}
    async with server(tmp_path) as one:
        answer = await post(one, "/v1/phone/twilio/voice", form)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/xml")
        stream = ElementTree.fromstring(answer.text).find("Connect/Stream")
        assert stream is not None
        assert stream.attrib["url"] == "wss://voice.example.org/v1/phone/twilio"
        given = {each.attrib["name"]: each.attrib["value"] for each in stream.findall("Parameter")}
        assert given["caller"] == "+15550100123"
        refused = await post(one, "/v1/phone/twilio/voice", form, **signed(f"{PUBLIC}/v1/phone/twilio/voice", {}))
        assert refused.status_code == 401
        assert (await post(one, "/v1/phone/twilio/whisper?token=x", form)).status_code == 200


# --- calls ---


async def test_a_caller_is_greeted_and_answered(tmp_path: Path) -> None:
    model = ScriptedModel("Ten meters it is.", repeat=True)
    async with server(tmp_path, model) as one, twilio_call(one.url) as call:
        await ready(call)
        greeted = len(call.heard)
        await call.say(said("goforward"))
        await call.until_heard(greeted // 8 + 800)
        assert call.marks
        await call.stop()
        await call.until_closed()
        assert call.closed == 1000


async def test_speech_over_an_answer_clears_what_twilio_has(tmp_path: Path) -> None:
    async with server(tmp_path, ScriptedModel(LONG, repeat=True)) as one, twilio_call(one.url) as call:
        await ready(call)
        await call.say(said("goforward"))
        await call.until_heard(1_700)
        assert call.cleared == 0
        await call.say(said("goforward", silence_s=0.1))
        await eventually(lambda: call.cleared > 0)


async def test_what_was_heard_is_what_twilio_played(tmp_path: Path) -> None:
    """History holds no more of an interrupted answer than the marks confirmed."""
    async with server(tmp_path, ScriptedModel(LONG, repeat=True)) as one, twilio_call(one.url) as call:
        await ready(call)
        live = next(iter(one.application.host.registry._live.values()))
        await call.say(said("goforward"))
        await call.until_heard(2_000)
        live.session.cancel()
        await eventually(lambda: call.cleared > 0)

        def answers() -> list[str]:
            return [each.text for each in live.session.history.messages() if each.role == "assistant"]

        await eventually(lambda: any(text.startswith("This is") for text in answers()))
        heard_ms = len(call.heard) / 8
        kept = next(text for text in answers() if text.startswith("This is"))
        assert len(kept) * 60 <= heard_ms + 600


async def test_keys_are_an_entry(tmp_path: Path) -> None:
    model = ScriptedModel("Thank you.", repeat=True, profile=TOOLS)
    async with server(tmp_path, model) as one, twilio_call(one.url) as call:
        await ready(call)
        await call.press("42#")
        await eventually(lambda: bool(model.requests))
        assert model.requests[-1].messages[-1].text == "[The caller entered 4 2 on the keypad]"


async def test_the_agent_hangs_up_after_its_goodbye_was_played(tmp_path: Path) -> None:
    ending = ScriptedReply("", tools=(ToolRequest("c1", "end_call", "{}"),))
    model = ScriptedModel(ending, ScriptedReply("Goodbye then, and thank you."), profile=TOOLS)
    async with server(tmp_path, model) as one, twilio_call(one.url) as call:
        await ready(call)
        greeted = len(call.heard)
        await call.say(said("goforward"))
        await call.until_closed()
        assert call.closed == 1000
        assert len(call.heard) - greeted >= len("Goodbye then, and thank you.") * 60 * 8 * 0.9


async def test_the_language_is_the_calls_own(tmp_path: Path) -> None:
    async with server(tmp_path, greeting=None) as one, twilio_call(one.url, locale="it-IT") as call:
        await call.until_heard(600)
        live = next(iter(one.application.host.registry._live.values()))
        assert live.session._options.locale == "it-IT"


# --- faults ---


async def test_frames_that_make_no_sense_are_left_out_until_there_are_too_many(tmp_path: Path) -> None:
    async with server(tmp_path) as one, twilio_call(one.url) as call:
        await ready(call)
        for frame in ("{", "[]", b"\0\0", '{"event":"media","media":{"payload":"?"}}'):
            await call.ws.send(frame)
        await call.say(said("goforward"))
        await call.until_heard(2_000)
        for _ in range(25):
            await call.ws.send("{")
        await call.until_closed()


@pytest.mark.parametrize("frame", ["x" * 1_000_000, '{"event":"media","media":{"payload":"' + "A" * 100_000 + '"}}'])
async def test_a_frame_that_is_too_large_ends_the_call(tmp_path: Path, frame: str) -> None:
    async with server(tmp_path) as one, twilio_call(one.url) as call:
        await ready(call)
        await call.ws.send(frame)
        await call.until_closed()


@pytest.mark.parametrize("rest_s", [0.0, 0.12])
async def test_what_came_with_the_end_was_said_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest_s: float
) -> None:
    monkeypatch.setattr(LoopLoad, "rest_s", rest_s)
    told: list[str | int] = []
    digit, heard = PhoneConversation.digit, PhoneConversation.heard

    def hears(self: PhoneConversation, samples: Samples, rate_hz: int) -> None:
        told.append(len(samples))
        heard(self, samples, rate_hz)

    def pressed(self: PhoneConversation, key: str) -> None:
        told.append(key)
        digit(self, key)

    monkeypatch.setattr(PhoneConversation, "heard", hears)
    monkeypatch.setattr(PhoneConversation, "digit", pressed)
    async with server(tmp_path) as one, twilio_call(one.url) as call:
        await call.until_heard(20)
        told.clear()
        await call.send_audio(b"\x80" * 320)
        await call.press("5")
        await call.send_audio(b"\x80" * 160)
        await call.ws.close()
        await eventually(lambda: not one.application.phones._running)
    assert "5" in told
    assert sum(each for each in told if isinstance(each, int)) == 480


async def test_a_codec_nobody_understands_ends_the_stream(tmp_path: Path) -> None:
    async with server(tmp_path) as one, twilio_call(one.url, started=False) as call:
        await call.start(encoding="audio/opus")
        await call.until_closed()


async def test_a_stream_that_never_begins_is_closed(tmp_path: Path) -> None:
    telephony = {**TELEPHONY}
    limits = {"handshake_timeout_s": 0.3}
    async with served(tmp_path, telephony=telephony, limits=limits) as one, twilio_call(one.url, started=False) as call:
        await call.send_audio(b"\xff" * 160)
        await call.until_closed()
        assert len(one.application.host.registry) == 0


@pytest.mark.parametrize("stage", ["connected", "started", "greeting", "speaking", "thinking", "answering", "stopped"])
async def test_a_connection_that_breaks_at_any_stage_leaves_nothing(tmp_path: Path, stage: str) -> None:
    gate = anyio.Event()

    async def wait(number: int) -> None:
        if stage == "thinking" and number == 0:
            await gate.wait()

    model = ScriptedModel(LONG, repeat=True, before_event=wait)
    async with server(tmp_path, model) as one:
        before = len(asyncio.all_tasks())
        async with twilio_call(one.url, started=stage != "connected") as call:
            if stage not in {"connected", "started"}:
                await call.until_heard(100)
            if stage in {"speaking", "thinking", "answering", "stopped"}:
                await ready(call)
                await call.say(said("goforward", silence_s=0.0 if stage == "speaking" else 2.0))
            if stage == "thinking":
                await eventually(lambda: len(model.requests) > 0)
            if stage in {"answering", "stopped"}:
                await call.until_heard(1_500)
            if stage == "stopped":
                await call.stop()
            call.ws.transport.abort()
        gate.set()
        await eventually(lambda: len(one.application.host.registry) == 0, 20)
        await eventually(lambda: len(asyncio.all_tasks()) <= before, 20)


async def test_fifty_calls_that_break_off_leave_no_object_behind(tmp_path: Path) -> None:
    async with server(tmp_path) as one:

        async def call_and_break_off() -> None:
            async with twilio_call(one.url) as call:
                await call.until_heard(60)
                call.ws.transport.abort()

        for _ in range(5):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(call_and_break_off)
        await eventually(lambda: len(one.application.host.registry) == 0, 20)
        await eventually(lambda: left_of(PhoneConversation, StreamLeg, LiveSession, Session) <= 8, 20)


def left_of(*kinds: type) -> int:
    """How many objects of these kinds there are; the latest call's may still be in somebody's hands."""
    gc.collect()
    return sum(isinstance(each, kinds) for each in gc.get_objects())


async def test_calls_end_with_the_server(tmp_path: Path) -> None:
    async with server(tmp_path) as one, twilio_call(one.url) as call:
        await ready(call)
        await one.application.drain()
        await call.until_closed()
