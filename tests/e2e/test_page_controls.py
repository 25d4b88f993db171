"""The page's controls: push-to-talk by pointer, key and tap; the keyboard alone; muting; what the page remembers."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from browser import chromium, needs_chromium, open_page
from stub_page import finished, stub_page, tone_wav, until_audible
from voice_stub import Message, StubCall, VoiceStub, speechlike

pytestmark = [pytest.mark.browser, needs_chromium]


class PushToTalk:
    """A script that notes how many frames had come at each commit."""

    def __init__(self) -> None:
        self.frames_at_commit: list[int] = []
        self.committed = [anyio.Event() for _ in range(3)]
        self.start: Message = {}

    async def __call__(self, call: StubCall) -> None:
        self.start = await call.start()
        for committed in self.committed:
            await call.expect("voice.commit")
            self.frames_at_commit.append(len(call.frames))
            committed.set()


async def frames_reach(stub: VoiceStub, count: int) -> None:
    """Waits until so many frames have come in all."""
    call = stub.calls[0]
    if len(call.frames) < count:
        await call.expect_frames(count - len(call.frames))


async def test_push_to_talk_sends_only_while_held_and_commits_on_release(tmp_path: Path) -> None:
    script = PushToTalk()
    stub = VoiceStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.check("#push-to-talk")
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=push-to-talk]", state="attached")
        assert script.start["turn_detection"] == {"type": "push_to_talk"}
        await page.wait_for_function("() => document.querySelector('#meter').getAttribute('aria-valuenow') > 20")
        assert stub.calls[0].frames == []

        await page.locator("#talk").hover()
        await page.mouse.down()
        await frames_reach(stub, 25)
        assert await page.inner_text("#state-words") == "Hearing you"
        assert await page.get_attribute("#talk", "aria-pressed") == "true"
        await page.mouse.up()
        await finished(script.committed[0])

        await page.locator("body").click(position={"x": 5, "y": 5})
        await page.keyboard.down("Space")
        await frames_reach(stub, script.frames_at_commit[0] + 25)
        await page.keyboard.up("Space")
        await finished(script.committed[1])

        # For hands that cannot hold: one press begins, another sends.
        await page.focus("#talk")
        await page.keyboard.press("Enter")
        await frames_reach(stub, script.frames_at_commit[1] + 25)
        await page.keyboard.press("Enter")
        await finished(script.committed[2])
    assert script.frames_at_commit[0] >= 25


async def test_a_tap_keeps_the_button_down_until_the_next_tap(tmp_path: Path) -> None:
    script = PushToTalk()
    script.committed = script.committed[:1]
    stub = VoiceStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.check("#push-to-talk")
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=push-to-talk]", state="attached")
        await page.click("#talk")
        await frames_reach(stub, 40)
        assert not script.committed[0].is_set()
        assert await page.inner_text("#talk-label") == "Done"
        await page.click("#talk")
        await finished(script.committed[0])


async def test_pressing_the_button_over_the_answer_stops_it(tmp_path: Path) -> None:
    cancelled = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="hi", source="speech")
        await call.send_audio("t-1", speechlike(5_000))
        await call.expect("voice.cancel")
        cancelled.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.check("#push-to-talk")
        await page.click("#talk")
        await until_audible(page)
        await page.locator("#talk").hover()
        await page.mouse.down()
        await finished(cancelled)
        await page.mouse.up()


async def test_the_whole_conversation_works_from_the_keyboard(tmp_path: Path) -> None:
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.expect_frames(10)
        await call.send("turn.started", "t-1", text="hi", source="speech")
        await call.send_audio("t-1", speechlike(8_000))
        await call.expect("voice.cancel")
        assert (await call.expect("chat.start"))["prompt"] == "typed"
        await call.expect("voice.stop")
        done.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        stops: list[str] = []
        while not stops or stops[-1] != "talk":
            await page.keyboard.press("Tab")
            stops.append(await page.evaluate("document.activeElement.id || document.activeElement.className"))
            assert len(stops) < 12, stops
        assert stops[0] == "skip"
        await page.keyboard.press("Enter")
        await until_audible(page)
        await page.keyboard.press("Escape")
        await page.wait_for_selector("#state:not([data-activity=speaking])", state="attached")
        while await page.evaluate("document.activeElement.id") != "prompt":
            await page.keyboard.press("Tab")
        await page.keyboard.type("typed")
        await page.keyboard.press("Enter")
        while await page.evaluate("document.activeElement.id") != "talk":
            await page.keyboard.press("Shift+Tab")
        await page.keyboard.press("Enter")
        await finished(done)
        await page.wait_for_selector("#state[data-activity=idle]", state="attached")


async def test_a_muted_microphone_sends_silence_and_says_so(tmp_path: Path) -> None:
    async def script(call: StubCall) -> None:
        await call.start()

    stub = VoiceStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        await page.click("#mute")
        await page.wait_for_selector("#state[data-activity=muted]", state="attached")
        assert await page.get_attribute("#mute", "aria-pressed") == "true"
        await stub.calls[0].expect_frames(40)
        assert set(b"".join(stub.calls[0].frames[-5:])) == {0}
        await page.click("#mute")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")


async def test_preferences_reach_the_session_at_once_and_survive_a_reload(tmp_path: Path) -> None:
    updated = anyio.Event()
    starts: list[Message] = []

    async def script(call: StubCall) -> None:
        starts.append(await call.start())
        if len(starts) == 1:
            update = await call.expect("voice.update")
            assert update["accessibility"]["patience"] == "never"
            updated.set()
        else:
            await call.expect("voice.commit")

    stub = VoiceStub(script)
    async with stub.serve(), chromium(tone_wav(tmp_path)) as browser, open_page(browser, stub.url) as page:
        await page.click("#talk")
        await page.click("text=Preferences")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        await page.select_option("#patience", "never")
        await finished(updated)
        assert await page.is_visible("#done")
        await page.select_option("#rate", "0.75")
        await page.uncheck("[name=spoken]")

        await page.reload()
        assert await page.input_value("#patience") == "never"
        await page.click("#talk")
        await page.click("#done")
        await page.wait_for_selector("#state[data-activity=thinking]", state="attached")
    assert starts[1]["output"]["modalities"] == ["text"]
    assert starts[1]["output"]["rate"] == 0.75
    assert starts[1]["accessibility"]["patience"] == "never"
