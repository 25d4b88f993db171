"""The page for everybody: WCAG 2.2 AA where a browser can measure it, in both colour schemes and down to 320 px."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from browser import needs_chromium
from demo_conversation import conversation
from stub_page import finished, stub_page, tone_wav
from voice_stub import WEB_DEMO, StubCall, VoiceStub

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.browser

# Contrast of every visible text against what lies behind it (WCAG 2.2, 1.4.3), computed from the styles in force.
LOW_CONTRAST = """() => {
    const parse = (text) => {
        const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
        return { r, g, b, a };
    };
    const over = (top, below) => ({
        r: top.r * top.a + below.r * (1 - top.a),
        g: top.g * top.a + below.g * (1 - top.a),
        b: top.b * top.a + below.b * (1 - top.a),
        a: 1,
    });
    const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = ({ r, g, b }) => {
        const [x, y, z] = [r, g, b].map(linear);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const background = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
        return layers.reverse().reduce((below, layer) => over(layer, below));
    };
    const low = [];
    let checked = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (node.data.trim() === '' || !element.checkVisibility()) continue;
        if (element.closest('.for-readers, noscript, option')) continue;
        const style = getComputedStyle(element);
        const behind = background(element);
        const [a, b] = [luminance(over(parse(style.color), behind)), luminance(behind)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        checked += 1;
        if (ratio < 4.5) low.push(`${node.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    return { low, checked };
}"""

SMALL_TARGETS = """() => [...document.querySelectorAll('button, input, select, summary, a')]
    .filter((target) => target.checkVisibility())
    .map((target) => [target.id || target.className || target.textContent.trim(), target.getBoundingClientRect()])
    .filter(([, box]) => box.width < 24 || box.height < 24)
    .map(([name, box]) => `${name}: ${box.width}x${box.height}`)"""

OUTSIDE = """() => [...document.querySelectorAll('body *')]
    .filter((element) => element.checkVisibility() && !element.closest('.for-readers, .skip'))
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
    .map((element) => element.outerHTML.slice(0, 80))"""


@asynccontextmanager
async def after_a_conversation(tmp_path: Path, **context_options: Any) -> AsyncGenerator[Page]:
    """The page with everything on it: three turns, a notice of each kind, every panel open."""

    async def script(call: StubCall) -> None:
        await conversation(call)
        await call.send("degraded", **{"from": "whisper", "to": "captions only", "reason": "It is busy."})
        await call.send("audio.quality", issue="clipping", message="It is too loud.", measures={})
        await call.send("error", code="provider.timeout", message="The model was slow.", retryable=True)

    async with stub_page(VoiceStub(script), tone_wav(tmp_path), **context_options) as page:
        await page.fill("#prompt", "When is high water today?")
        await page.press("#prompt", "Enter")
        await page.wait_for_function("() => document.querySelectorAll('.usage').length === 1")
        await page.click("#talk")
        await page.locator(".notice.error").wait_for()
        await page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        yield page


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_has_contrast_and_every_target_size(tmp_path: Path, scheme: str) -> None:
    async with after_a_conversation(tmp_path, color_scheme=scheme) as page:
        contrast = await page.evaluate(LOW_CONTRAST)
        assert contrast["low"] == []
        assert contrast["checked"] > 60
        assert await page.evaluate(SMALL_TARGETS) == []


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_first_sight_of_the_page_has_contrast_too(scheme: str) -> None:
    async def nobody_calls(call: StubCall) -> None:
        raise AssertionError("nothing connects before the user does something")

    async with stub_page(VoiceStub(nobody_calls), color_scheme=scheme) as page:
        assert (await page.evaluate(LOW_CONTRAST))["low"] == []


@needs_chromium
async def test_the_page_reflows_at_320_pixels(tmp_path: Path) -> None:
    async with after_a_conversation(tmp_path, viewport={"width": 320, "height": 256}) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        assert await page.evaluate(OUTSIDE) == []


@needs_chromium
async def test_every_stop_of_the_keyboard_is_seen(tmp_path: Path) -> None:
    async with after_a_conversation(tmp_path) as page:
        await page.focus(".skip")
        seen: set[str] = set()
        for _ in range(60):
            await page.keyboard.press("Tab")
            stop: list[str] = await page.evaluate(
                "() => { const at = document.activeElement, style = getComputedStyle(at);"
                " return [at.id || at.name || at.textContent, style.outlineStyle, style.outlineWidth] }"
            )
            if await page.evaluate("document.activeElement === document.body"):
                break  # once around
            assert stop[1:] == ["solid", "3px"], stop
            seen.add(stop[0])
        assert {"conversation", "talk", "mute", "stop", "prompt", "push-to-talk", "patience", "announce"} <= seen
        assert {"transport", "microphone", "speaker"} <= seen


@needs_chromium
async def test_assistive_technology_finds_names_roles_and_a_real_table(tmp_path: Path) -> None:
    async with after_a_conversation(tmp_path) as page:
        snapshot = await page.locator("body").aria_snapshot()
        for line in (
            '- heading "Convergio Voice" [level=1]',
            '- heading "Where the milliseconds went" [level=2]',
            '- button "Mute"',
            '- button "End"',
            '- meter "Microphone level"',
            '- textbox "Or type"',
            '- switch "Push to talk hold the button or Space"',
            '- combobox "When I pause, the agent"',
            '- combobox "Sound travels"',
            '- combobox "I speak into"',
            '- combobox "I hear it from"',
            '- columnheader "Stage"',
            '- rowheader "Words understood stt · whisper"',
            "interrupted; not said:",
        ):
            assert line in snapshot
        names = await page.evaluate(
            "[...document.querySelectorAll('button, input, select, summary')]"
            ".filter((control) => !(control.textContent.trim() || control.labels?.length || control.ariaLabel)).length"
        )
        assert names == 0
        assert await page.evaluate("document.documentElement.lang") == "en"
        tables = page.get_by_role("table", name="Turn 3: milliseconds by stage, after your last word")
        assert await tables.count() == 1


@needs_chromium
async def test_states_are_announced_at_a_pace_that_can_be_followed(tmp_path: Path) -> None:
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.expect_frames(5)
        for turn in range(20):
            await call.send("vad.speech_started", utterance_id=turn, at_ms=turn)
            await call.send("turn.started", f"t-{turn}", text="hi", source="speech")
        await call.send("chat.complete", "t-19", text="", interrupted=False)
        done.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.evaluate(
            "() => { globalThis.announced = []; const live = document.querySelector('#state-live');"
            " new MutationObserver(() => announced.push(live.textContent)).observe(live, { childList: true }) }"
        )
        await page.click("#talk")
        await finished(done)
        await page.wait_for_function("() => announced.at(-1) === 'Listening'")
        announced: list[str] = await page.evaluate("announced")
        assert len(announced) <= 3, announced


@needs_chromium
async def test_whole_messages_can_be_had_by_a_screen_reader(tmp_path: Path) -> None:
    async with after_a_conversation(tmp_path) as page:
        assert await page.inner_text("#messages-live") == "", "off unless asked for: the agent speaks already"

    async def script(call: StubCall) -> None:
        await call.start()
        span: dict[str, Any] = {"utterance_id": 1, "start_ms": 0, "end_ms": 1}
        await call.send("transcript.partial", text="hello the", **span)
        await call.send("transcript.final", text="Hello there.", **span)
        await call.send("turn.started", "t-1", text="Hello there.", source="speech")
        await call.send("chat.token", "t-1", text="Good ")
        await call.send("chat.token", "t-1", text="morning.")
        await call.send("chat.complete", "t-1", text="Good morning.", interrupted=False)

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("text=Preferences")
        await page.check("[name=announce]")
        await page.click("#talk")
        await page.locator("#messages-live p").nth(1).wait_for(state="attached")
        said = await page.locator("#messages-live p").all_text_contents()
        assert said == ["You: Hello there.", "Agent: Good morning."]


@needs_chromium
async def test_nothing_moves_for_those_who_asked_for_less_motion() -> None:
    async def nobody_calls(call: StubCall) -> None:
        raise AssertionError("nothing connects before the user does something")

    async with stub_page(VoiceStub(nobody_calls), reduced_motion="reduce") as page:
        await page.evaluate("document.querySelector('#state').dataset.activity = 'thinking'")
        assert await page.evaluate("document.getAnimations().length") == 0
        await page.emulate_media(reduced_motion="no-preference")
        assert await page.evaluate("document.getAnimations().length") == 1


def test_the_page_carries_no_inline_code_or_style_and_nothing_from_elsewhere() -> None:
    files = [path for path in WEB_DEMO.rglob("*") if path.suffix in {".html", ".js", ".css", ".svg"}]
    assert len(files) > 15
    for path in files:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(", text), path
    html = (WEB_DEMO / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", html)
