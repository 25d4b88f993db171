"""Microphones and loudspeakers on the page: chosen while a conversation runs, remembered, and followed as they go."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from browser import chromium, needs_chromium, open_page
from rtc_stub import RtcStub
from stub_page import finished, stub_page, tone_wav, until_audible
from voice_stub import Message, StubCall, VoiceStub, speechlike

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, needs_chromium]

# Notes what the page asks of devices and where it sends sound. Only what is asked of the browser is looked at.
WATCH = """() => {
    globalThis.asked = [];
    globalThis.sinks = [];
    globalThis.opened = undefined;
    const media = navigator.mediaDevices;
    const [get, list] = [media.getUserMedia.bind(media), media.enumerateDevices.bind(media)];
    media.getUserMedia = async (wish) => {
        const id = wish.audio.deviceId?.exact ?? '';
        asked.push(id);
        if (id === globalThis.broken) throw new DOMException('busy', 'NotReadableError');
        const stream = await get(wish);
        globalThis.opened = stream.getAudioTracks()[0];
        return stream;
    };
    globalThis.unplugged = [];
    media.enumerateDevices = async () => (await list()).filter(({ label }) => !unplugged.includes(label));
    for (const type of [HTMLMediaElement, AudioContext]) {
        const set = type.prototype.setSinkId;
        type.prototype.setSinkId = function (id) {
            sinks.push([this.constructor.name, id]);
            return set.call(this, id);
        };
    }
}"""

REPLUG = """(labels) => {
    globalThis.unplugged = labels;
    if (labels.includes(opened.label)) {
        opened.stop();
        opened.dispatchEvent(new Event('ended'));
    }
    navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
}"""


class Listens:
    """A script that begins a session, answers when told to, and fails the test if another is begun."""

    def __init__(self) -> None:
        self.starts: list[Message] = []
        self.speak = anyio.Event()

    async def __call__(self, call: StubCall) -> None:
        self.starts.append(await call.start())
        await self.speak.wait()
        await call.send("turn.started", "t-1", text="hello", source="speech")
        await call.send_audio("t-1", speechlike(5_000))


@asynccontextmanager
async def watched(stub: VoiceStub, folder: Path) -> AsyncGenerator[Page]:
    """The page with its preferences open, and a notebook of what it asks of devices."""
    async with stub_page(stub, tone_wav(folder)) as page:
        await page.evaluate(WATCH)
        await page.click("text=Preferences")
        yield page


async def labels(page: Page, list_id: str) -> list[str]:
    """What there is to choose from."""
    return await page.locator(f"#{list_id} option").all_text_contents()


async def chosen(page: Page, list_id: str) -> str:
    """What is chosen."""
    return await page.locator(f"#{list_id} option:checked").text_content() or ""


async def track_is(page: Page, label: str) -> None:
    """Waits until the page listens through this device."""
    await page.wait_for_function("(label) => opened?.label === label && opened.readyState === 'live'", arg=label)


@pytest.mark.parametrize("stub_type", [VoiceStub, RtcStub], ids=["websocket", "webrtc"])
async def test_the_microphone_is_changed_in_the_middle_of_the_session(
    tmp_path: Path, stub_type: type[VoiceStub]
) -> None:
    script = Listens()
    stub = stub_type(script)
    async with watched(stub, tmp_path) as page:
        await page.click("#talk")
        await page.locator("#microphone option", has_text="Fake Audio Input 2").wait_for(state="attached")
        assert not await page.is_visible("#devices-hint")
        assert not [label for label in await labels(page, "microphone") if "efault" in label]
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        await stub.calls[0].expect_frames(10)
        await page.select_option("#microphone", label="Fake Audio Input 2")
        await track_is(page, "Fake Audio Input 2")
        await stub.calls[0].expect_frames(25)
        assert await page.inner_text("#state-words") == "Listening"
        await page.click("#mute")
        await page.select_option("#microphone", label="Fake Audio Input 1")
        await track_is(page, "Fake Audio Input 1")
        await page.wait_for_function("() => !opened.enabled")  # muted is muted, whatever the device

        await page.reload()
        await page.evaluate(WATCH)
        await page.locator("#microphone option", has_text="Fake Audio Input 1").wait_for(state="attached")
        assert await chosen(page, "microphone") == "Fake Audio Input 1"
        await page.click("#talk")
        await page.wait_for_function("() => globalThis.opened !== undefined")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        assert await page.evaluate("opened.label") == "Fake Audio Input 1"
    assert len(script.starts) == 2, "one before the reload, one after it"


@pytest.mark.parametrize(("stub_type", "kind"), [(VoiceStub, "AudioContext"), (RtcStub, "HTMLAudioElement")])
async def test_the_loudspeaker_is_changed_while_the_agent_speaks(
    tmp_path: Path, stub_type: type[VoiceStub], kind: str
) -> None:
    script = Listens()
    async with watched(stub_type(script), tmp_path) as page:
        await page.click("#talk")
        script.speak.set()
        await until_audible(page)
        await page.select_option("#speaker", label="Fake Audio Output 2")
        chosen_id = await page.input_value("#speaker")
        await page.wait_for_function(
            "([kind, id]) => sinks.some(([of, to]) => of === kind && to === id)", arg=[kind, chosen_id]
        )
        await until_audible(page)
        assert await page.locator(".notice").all_inner_texts() == []
        await page.reload()
        await page.evaluate(WATCH)
        await page.click("#talk")
        await page.wait_for_function(
            "([kind, id]) => sinks.some(([of, to]) => of === kind && to === id)", arg=[kind, chosen_id]
        )
        assert await chosen(page, "speaker") == "Fake Audio Output 2"


async def test_a_microphone_that_cannot_be_opened_leaves_the_one_before(tmp_path: Path) -> None:
    stub = VoiceStub(Listens())
    async with watched(stub, tmp_path) as page:
        await page.click("#talk")
        await page.locator("#microphone option", has_text="Fake Audio Input 2").wait_for(state="attached")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        await page.evaluate("globalThis.broken = [...document.querySelector('#microphone').options].at(-1).value")
        await page.select_option("#microphone", label="Fake Audio Input 2")
        await page.locator(".notice", has_text="could not use Fake Audio Input 2").wait_for()
        assert await chosen(page, "microphone") == "the browser’s choice"
        await stub.calls[0].expect_frames(25)
        assert await page.inner_text("#state-words") == "Listening"


async def test_a_microphone_that_is_unplugged_is_replaced_and_comes_back(tmp_path: Path) -> None:
    script = Listens()
    stub = RtcStub(script)
    async with watched(stub, tmp_path) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        await page.locator("#microphone option", has_text="Fake Audio Input 2").wait_for(state="attached")
        await page.select_option("#microphone", label="Fake Audio Input 2")
        await track_is(page, "Fake Audio Input 2")
        await page.evaluate(
            "() => { globalThis.announced = []; const live = document.querySelector('#state-live');"
            " new MutationObserver(() => announced.push(live.textContent)).observe(live, { childList: true }) }"
        )
        before = await page.evaluate("asked.length")
        await page.evaluate(REPLUG, ["Fake Audio Input 2"])
        await page.wait_for_function("(before) => asked.length > before", arg=before)
        await page.locator("#microphone option", has_text="Fake Audio Input 2 (not there)").wait_for(state="attached")
        await stub.calls[0].expect_frames(25)
        assert await page.get_attribute("#talk", "data-running") == "true"
        before = await page.evaluate("asked.length")
        await page.evaluate(REPLUG, [])
        await page.wait_for_function("(before) => asked.length > before", arg=before)
        await track_is(page, "Fake Audio Input 2")
        await stub.calls[0].expect_frames(25)
        assert await page.locator(".notice").count() == 0
    assert len(script.starts) == 1


async def test_a_microphone_that_is_gone_for_good_is_told_and_typing_works(tmp_path: Path) -> None:
    stub = RtcStub(Listens())
    async with watched(stub, tmp_path) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        await page.evaluate(
            "() => { const media = navigator.mediaDevices;"
            " media.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError')) }"
        )
        await page.evaluate(REPLUG, [await page.evaluate("opened.label")])
        await page.locator(".notice", has_text="No microphone was found.").wait_for()
        await page.wait_for_selector("#state[data-activity=ready]", state="attached")
        await page.fill("#prompt", "then in writing")
        await page.press("#prompt", "Enter")
        with anyio.fail_after(5):
            assert (await stub.calls[0].expect("chat.start"))["prompt"] == "then in writing"


async def test_devices_without_names_are_not_offered_and_the_page_says_when_they_will_have_one() -> None:
    stub = VoiceStub(Listens())
    async with stub.serve(), chromium() as browser:
        context = await browser.new_context()
        await context.add_init_script(
            "navigator.mediaDevices.enumerateDevices = async () =>"
            " [{ kind: 'audioinput', deviceId: '', label: '' }, { kind: 'audiooutput', deviceId: '', label: '' }]"
        )
        page = await context.new_page()
        await page.goto(stub.url)
        await page.click("text=Preferences")
        assert await labels(page, "microphone") == await labels(page, "speaker") == ["the browser’s choice"]
        assert await page.is_visible("#devices-hint")


async def test_where_the_browser_cannot_choose_a_loudspeaker_none_is_offered() -> None:
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        done.set()

    stub = VoiceStub(script)
    async with stub.serve(), chromium() as browser:
        context = await browser.new_context()
        await context.add_init_script(
            "delete HTMLMediaElement.prototype.setSinkId; delete AudioContext.prototype.setSinkId"
        )
        page = await context.new_page()
        await page.goto(stub.url)
        await page.click("text=Preferences")
        assert await page.is_visible("#microphone")
        assert not await page.is_visible("#speaker")
        assert await page.get_by_text("I hear it from").count() == 1
        assert not await page.get_by_text("I hear it from").is_visible()
        await page.click("#talk")
        await finished(done)


async def test_a_context_that_cannot_choose_its_loudspeaker_plays_through_an_element(tmp_path: Path) -> None:
    script = Listens()
    stub = VoiceStub(script)
    async with (
        stub.serve(),
        chromium(tone_wav(tmp_path)) as browser,
        open_page(browser, stub.url) as page,
    ):
        await page.evaluate("async () => { globalThis.client = (await import('/app.js')).client }")
        await page.evaluate("delete AudioContext.prototype.setSinkId")
        await page.evaluate(
            "() => { HTMLMediaElement.prototype.setSinkId = function (id) {"
            " this.sink = id; if (this.srcObject) globalThis.on = this } }"
        )
        await page.click("text=Preferences")
        await page.click("#talk")
        await page.locator("#speaker option", has_text="Fake Audio Output 2").wait_for(state="attached")
        await page.select_option("#speaker", label="Fake Audio Output 2")
        script.speak.set()
        await until_audible(page)
        await page.wait_for_function("(id) => globalThis.on?.sink === id", arg=await page.input_value("#speaker"))
        await page.wait_for_function("() => on.srcObject?.active && !on.paused")
        # Asked again while the element begins to play: neither spoils the other.
        both = await page.evaluate(
            "async (id) => { const { play } = HTMLMediaElement.prototype; let second;"
            " HTMLMediaElement.prototype.play = function () {"
            " HTMLMediaElement.prototype.play = play; const playing = play.call(this);"
            " second = client.useSpeaker(id); return playing };"
            " return [await client.useSpeaker(id), await second] }",
            await page.input_value("#speaker"),
        )
        assert both == [True, True]
        assert await page.evaluate("on.sink") == await page.input_value("#speaker")
