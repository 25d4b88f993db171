"""The page when the connection fails: it takes the session up where it was, begins anew, or goes on in writing."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from browser import needs_chromium
from stub_page import finished, stub_page, tone_wav
from voice_stub import Message, StubCall, VoiceStub, speechlike

pytestmark = [pytest.mark.browser, needs_chromium]


async def test_a_dropped_socket_is_resumed_from_the_last_event_and_audio_frames_count_as_events(tmp_path: Path) -> None:
    resumed: list[Message] = []
    seen_before_the_drop: list[int] = []
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        if call.stub.calls[0] is call:
            await call.start()
            await call.expect_frames(5)
            await call.send("turn.started", "t-1", text="hello", source="speech")
            await call.send("caption", "t-1", speaker="agent", text="Hello you.", start_ms=0, end_ms=2_000, final=True)
            await call.send_audio("t-1", speechlike(1_000))
            await call.expect("voice.played")
            seen_before_the_drop.append(call.stub.event_id)
            await call.drop()
            return
        resumed.append(await call.expect("session.resume"))
        # A resume answers with the id it counts on from; what was missed follows.
        call.stub.event_id -= 1
        await call.send("session.resumed", session_id="s-1", missed_events=0)
        await call.expect_frames(20)
        await call.send_audio("t-1", speechlike(1_000), start_ms=1_000)
        await call.send("voice.audio.done", "t-1", audio_ms=2_000)
        while (await call.expect("voice.played"))["audio_ms"] < 2_000:
            pass
        done.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await finished(done)
        assert await page.inner_text(".entry.agent .words") == "Hello you."
        assert await page.locator(".entry.agent").count() == 1
    assert resumed[0]["session_id"] == "s-1"
    assert resumed[0]["last_event_id"] == seen_before_the_drop[0]


async def test_what_is_typed_and_said_during_an_outage_arrives_after_it(tmp_path: Path) -> None:
    down, done = anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        if call.stub.calls[0] is call:
            await call.start()
            await call.expect_frames(5)
            call.stub.refuses = True
            await call.drop()
            down.set()
            return
        await call.expect("session.resume")
        await call.send("session.resumed", session_id="s-1", missed_events=2)
        assert (await call.expect("chat.start"))["prompt"] == "are you there?"
        assert len(call.frames) >= 10, "what was said meanwhile comes first"
        done.set()

    stub = VoiceStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await finished(down)
        await page.wait_for_selector("#state[data-activity=reconnecting]", state="attached")
        await page.fill("#prompt", "are you there?")
        await page.press("#prompt", "Enter")
        await page.locator("#state-words", has_text="Attempt 2 of 3").wait_for()
        stub.refuses = False
        await finished(done)
        assert "2 events of the conversation were lost" in await page.inner_text("#notices")
    assert stub.refused == 1


async def test_a_session_the_server_has_forgotten_begins_anew(tmp_path: Path) -> None:
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        number = call.stub.calls.index(call)
        if number == 0:
            await call.start()
            await call.drop()
        elif number == 1:
            await call.expect("session.resume")
            await call.send("error", code="session.not_found", message="There is no such session.", retryable=False)
            await call.closed.wait()
        else:
            await call.start(session_id="s-2")
            await call.expect_frames(5)
            done.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await finished(done)
        await page.locator("#session", has_text="s-2").wait_for()
        assert await page.locator(".notice.error").count() == 0


async def test_after_three_failures_the_page_goes_on_in_writing_and_voice_can_be_tried_again(tmp_path: Path) -> None:
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.expect_frames(5)
        done.set()

    stub = VoiceStub(script, refuses=True, written_answer="I can still write to you.")
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=text-only]", state="attached")
        assert stub.refused == 3
        assert await page.inner_text("#state-words") == "Text only. Type your question"
        assert "Using text instead of voice" in await page.inner_text("#notices")
        for question in ("can you hear me?", "and now?"):
            await page.fill("#prompt", question)
            await page.press("#prompt", "Enter")
            await page.locator(".entry.agent").last.filter(has_text="I can still write to you.").wait_for()
        assert [asked["prompt"] for asked in stub.asked] == ["can you hear me?", "and now?"]
        assert stub.asked[1]["history"] == [
            {"role": "user", "text": "can you hear me?"},
            {"role": "assistant", "text": "I can still write to you."},
        ]
        stub.refuses = False
        await page.click("text=Try again")
        await finished(done)
        assert await page.locator(".notice").count() == 0


async def test_what_was_typed_while_the_link_gave_up_is_asked_over_http() -> None:
    async def script(call: StubCall) -> None:
        raise AssertionError("no socket is accepted")

    stub = VoiceStub(script, refuses=True, written_answer="Written.")
    async with stub_page(stub) as page:
        await page.fill("#prompt", "hello?")
        await page.press("#prompt", "Enter")
        await page.locator(".entry.agent .words", has_text="Written.").wait_for()
        assert [asked["prompt"] for asked in stub.asked] == ["hello?"]
        assert await page.locator(".entry").count() == 2


async def test_a_refusal_over_http_is_told_in_the_servers_words() -> None:
    async def script(call: StubCall) -> None:
        raise AssertionError("no socket is accepted")

    stub = VoiceStub(script, refuses=True)
    async with stub_page(stub) as page:
        await page.fill("#prompt", "hello?")
        await page.press("#prompt", "Enter")
        await page.locator(".notice.error", has_text="The server is full.").wait_for()
        await page.wait_for_selector("#state[data-activity=text-only]", state="attached")


async def test_a_refusal_that_trying_again_cannot_mend_ends_the_attempts(tmp_path: Path) -> None:
    async def script(call: StubCall) -> None:
        await call.expect("voice.start")
        await call.send("error", code="auth.invalid", message="The credentials are missing.", retryable=False)
        await call.closed.wait()

    stub = VoiceStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=text-only]", state="attached")
        assert "The credentials are missing." in await page.inner_text("#notices")
    assert len(stub.calls) == 1


async def test_the_servers_own_goodbye_ends_the_conversation_quietly(tmp_path: Path) -> None:
    seen = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await seen.wait()
        await call.drop(1000)

    stub = VoiceStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        seen.set()
        await page.wait_for_selector("#state[data-activity=idle]", state="attached")
        assert await page.inner_text("#talk-label") == "Talk"
    assert len(stub.calls) == 1
