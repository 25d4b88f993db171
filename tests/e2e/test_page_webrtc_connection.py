"""The page when WebRTC cannot be had, is lost or is not wanted: the session goes on, by the next way there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from browser import chromium, needs_chromium, open_page
from rtc_stub import RtcCall, RtcStub
from stub_page import finished, stub_page, tone_wav, until_audible
from voice_stub import Message, SocketCall, StubCall, speechlike

if TYPE_CHECKING:
    from playwright.async_api import Page, Request

pytestmark = [pytest.mark.browser, needs_chromium]


async def starts_and_listens(call: StubCall) -> None:
    await call.start()


class Resumable:
    """A script that begins a session, and takes it up again whenever it is asked to."""

    def __init__(self, times: int = 1) -> None:
        self.times = times
        self.resumed: list[Message] = []
        self.again = anyio.Event()

    async def __call__(self, call: StubCall) -> None:
        if call.stub.calls[0] is call:
            await call.start()
            return
        asked = await call.expect("session.resume")
        self.resumed.append(asked)
        call.stub.event_id = asked["last_event_id"] - 1
        await call.send("session.resumed", session_id="s-1", missed_events=0)
        await call.expect_frames(1)
        if len(self.resumed) == self.times:
            self.again.set()


def kinds(stub: RtcStub) -> list[str]:
    """Which transport carried each connection."""
    return ["webrtc" if isinstance(call, RtcCall) else "websocket" for call in stub.calls]


async def carrier_is(page: Page, name: str) -> None:
    """Waits until the page says so."""
    await page.locator("#carrier", has_text=f"over {name}").wait_for()


async def listening(page: Page) -> None:
    """Waits until the agent listens."""
    await page.wait_for_selector("#state[data-activity=listening]", state="attached")


async def test_without_webrtc_on_the_server_the_socket_is_used_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    stub = RtcStub(starts_and_listens, webrtc="off")
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "webrtc" in request.url else None)
        await page.click("#talk")
        await listening(page)
        await carrier_is(page, "WebSocket")
        assert await page.locator(".notice").count() == 0
        assert "WebSocket. This server offers no WebRTC." in await page.inner_text("#session")
        await page.click("#talk")
        await page.click("#talk")
        await listening(page)
        assert len(asked) == 1, "once is enough"
    assert kinds(stub) == ["websocket", "websocket"]
    assert stub.offers == []


async def test_a_network_that_lets_no_webrtc_through_costs_a_moment_and_no_words(tmp_path: Path) -> None:
    stub = RtcStub(starts_and_listens, webrtc="unreachable")
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await listening(page)
        await carrier_is(page, "WebSocket")
        assert len(stub.calls[0].frames) > 100, "what was said meanwhile is heard"
        assert await page.locator(".notice").count() == 0
        assert "did not get through" in await page.inner_text("#session")
    assert stub.ended == ["/v1/voice/webrtc/peer-1"], "the server need not keep a peer that nobody reaches"


async def test_a_browser_without_webrtc_uses_the_socket(tmp_path: Path) -> None:
    stub = RtcStub(starts_and_listens)
    async with stub.serve(), chromium(tone_wav(tmp_path)) as browser:
        context = await browser.new_context()
        await context.add_init_script("delete globalThis.RTCPeerConnection")
        page = await context.new_page()
        await page.goto(stub.url)
        await page.click("#talk")
        await carrier_is(page, "WebSocket")
    assert stub.offers == []


async def test_a_lost_peer_is_followed_by_another_in_the_same_session(tmp_path: Path) -> None:
    script = Resumable()
    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await listening(page)
        await stub.calls[0].send("turn.started", "t-1", text="hello", source="speech")
        await page.locator(".entry.agent").wait_for()
        seen = stub.event_id
        await stub.calls[0].drop()
        await finished(script.again)
        await listening_again(page)
    assert kinds(stub) == ["webrtc", "webrtc"]
    assert script.resumed[0]["session_id"] == "s-1"
    assert script.resumed[0]["last_event_id"] == seen
    assert stub.ended == [], "to end the old peer would have been to end the session"


async def listening_again(page: Page) -> None:
    """Waits until the page has stopped reconnecting."""
    await page.wait_for_selector("#state:not([data-activity=reconnecting])", state="attached")


async def test_a_session_goes_on_over_the_socket_where_webrtc_does_not_come_back(tmp_path: Path) -> None:
    script = Resumable()
    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await listening(page)
        await page.evaluate(
            "() => { globalThis.announced = []; const live = document.querySelector('#state-live');"
            " new MutationObserver(() => announced.push(live.textContent)).observe(live, { childList: true }) }"
        )
        stub.webrtc = "off"
        await stub.calls[0].drop()
        await finished(script.again)
        await carrier_is(page, "WebSocket")
        await listening(page)
        call = stub.calls[1]
        assert isinstance(call, SocketCall)
        await call.send("turn.started", "t-1", text="hello", source="speech")
        await call.send_audio("t-1", speechlike(3_000))
        await until_audible(page)
        await page.wait_for_function("() => announced.some((words) => words.includes('Now over WebSocket.'))")
        announced: list[str] = await page.evaluate("announced")
        assert sum("WebSocket" in words for words in announced) == 1, announced
        assert await page.locator(".notice").count() == 0
    assert script.resumed[0]["session_id"] == "s-1"


async def test_a_path_that_dies_without_a_word_is_mended_or_replaced(tmp_path: Path) -> None:
    script = Resumable()
    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await listening(page)
        call = stub.calls[0]
        assert isinstance(call, RtcCall)
        await page.evaluate("() => { globalThis.links = []; client.on('link', ({ state }) => links.push(state)) }")
        await call.vanish()
        with anyio.fail_after(30):
            await script.again.wait()
        await listening(page)
        links: list[str] = await page.evaluate("links")
        assert links[0] == "reconnecting"
        assert links[-1] == "open"
        assert await page.locator(".notice").count() == 0
    assert kinds(stub) == ["webrtc", "webrtc"]
    assert stub.restarts == 1, "the path is tried again before the peer is given up"


async def test_candidates_that_are_slow_to_find_are_sent_after_the_offer(tmp_path: Path) -> None:
    stub = RtcStub(starts_and_listens, ice_servers=[{"urls": ["stun:127.0.0.1:9"]}])
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await carrier_is(page, "WebRTC")
        await finished(stub.trickled)
    fragment = stub.patches[-1]
    assert "a=ice-ufrag:" in fragment
    assert "m=audio " in fragment
    assert fragment.endswith("a=end-of-candidates\r\n")


async def test_the_user_may_change_over_in_the_middle_of_the_session_and_back(tmp_path: Path) -> None:
    script = Resumable(times=2)
    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("text=Preferences")
        await page.click("#talk")
        await carrier_is(page, "WebRTC")
        await listening(page)
        await page.select_option("#transport", "websocket")
        await carrier_is(page, "WebSocket")
        await listening(page)
        await page.select_option("#transport", "webrtc")
        await carrier_is(page, "WebRTC")
        await listening(page)
        assert await page.locator(".notice").count() == 0
        await finished(script.again)
        await page.reload()
        assert await page.input_value("#transport") == "webrtc"
    assert kinds(stub) == ["webrtc", "websocket", "webrtc"]
    assert [resume["session_id"] for resume in script.resumed] == ["s-1", "s-1"]


async def test_a_change_over_waits_until_the_agent_has_spoken(tmp_path: Path) -> None:
    go_on = anyio.Event()

    async def script(call: StubCall) -> None:
        if call.stub.calls[0] is not call:
            await call.expect("session.resume")
            await call.send("session.resumed", session_id="s-1", missed_events=0)
            return
        await call.start()
        await call.send("turn.started", "t-1", text="hello", source="speech")
        await call.send_audio("t-1", speechlike(1_500))
        await go_on.wait()
        await call.send("voice.audio.done", "t-1", audio_ms=1_500)
        await call.send("chat.complete", "t-1", text="Hello.")

    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("text=Preferences")
        await page.click("#talk")
        await until_audible(page)
        await page.select_option("#transport", "websocket")
        await page.locator(".entry.agent").wait_for()
        assert await page.inner_text("#carrier") == "over WebRTC"
        go_on.set()
        await carrier_is(page, "WebSocket")


async def test_whoever_wants_webrtc_and_cannot_have_it_is_told_why(tmp_path: Path) -> None:
    stub = RtcStub(starts_and_listens, webrtc="off")
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("text=Preferences")
        await page.select_option("#transport", "webrtc")
        await page.click("#talk")
        await listening(page)
        await page.locator(".notice", has_text="Over WebSocket. This server offers no WebRTC.").wait_for()
        await page.select_option("#transport", "websocket")
        await page.locator(".notice").wait_for(state="detached")


async def test_a_key_opens_webrtc_too(tmp_path: Path) -> None:
    stub = RtcStub(starts_and_listens)
    authorized: list[str | None] = []
    async with stub.serve(), chromium(tone_wav(tmp_path)) as browser, open_page(browser, stub.url) as page:

        def note(request: Request) -> None:
            if "webrtc" in request.url:
                authorized.append(request.headers.get("authorization"))

        page.on("request", note)
        await page.evaluate("async () => { globalThis.client = (await import('/app.js')).client }")
        await page.evaluate("() => { client.apiKey = 'sesame'; return client.connect() }")
        await carrier_is(page, "WebRTC")
        await page.evaluate("client.close()")
        with anyio.fail_after(5):
            await stub.calls[0].closed.wait()
    assert len(authorized) >= 3, "to ask for ICE servers, to offer and to end"
    assert set(authorized) == {"Bearer sesame"}
