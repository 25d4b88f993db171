"""The page of a server that asks for a key: it asks the user, says when a key is wrong, and then talks."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium, needs_chromium, open_page
from scripted_server import served
from stub_page import tone_wav
from test_page_accessibility import LOW_CONTRAST

pytestmark = [pytest.mark.browser, needs_chromium]

KEY = "cv_test_0123456789abcdef"
STORED = "[sessionStorage.getItem('convergio-voice.access-key'), Object.values(localStorage).join()]"


async def test_what_was_typed_is_answered_once_the_right_key_is_entered_and_the_tab_remembers_it(
    tmp_path: Path,
) -> None:
    async with (
        served(tmp_path, api_keys=(KEY,)) as server,
        chromium() as browser,
        open_page(browser, server.url) as page,
    ):
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        await page.fill("#prompt", "Hello there")
        await page.press("#prompt", "Enter")
        field = page.get_by_label("Access key")
        await field.wait_for()
        assert await page.locator("#access-problem").count() == 0
        assert await page.evaluate("document.activeElement.id") == "access-key"

        await page.keyboard.type("cv_test_of_somebody_else")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").filter(has_text="does not know that key").wait_for()
        assert await field.get_attribute("aria-invalid") == "true"
        assert await page.evaluate("document.activeElement.id") == "access-key"
        assert (await page.evaluate(LOW_CONTRAST))["low"] == []

        await page.keyboard.type("no/such=key")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").filter(has_text="Browsers cannot send this key").wait_for()
        assert sockets == [], "nothing connects without a key"
        assert await page.evaluate(STORED) == [None, ""]

        await page.keyboard.type(KEY)
        await page.keyboard.press("Enter")
        await page.locator(".entry.agent .words", has_text="You said: Hello there.").wait_for()
        assert not await field.is_visible()
        assert await page.evaluate("document.activeElement.id") == "prompt"
        assert await page.input_value("#prompt") == ""
        assert await page.locator(".entry").count() == 2
        assert await page.evaluate(STORED) == [KEY, ""]

        await page.reload()
        await page.fill("#prompt", "Once more")
        await page.press("#prompt", "Enter")
        await page.locator(".entry.agent .words", has_text="You said: Once more.").wait_for()
        assert not await field.is_visible()


async def test_talk_begins_when_the_key_is_right_and_text_over_http_carries_the_key_too(tmp_path: Path) -> None:
    async with (
        served(tmp_path, api_keys=(KEY,)) as server,
        chromium(tone_wav(tmp_path)) as browser,
        open_page(browser, server.url) as page,
    ):
        await page.click("#talk")
        await page.get_by_label("Access key").fill(KEY)
        await page.get_by_role("button", name="Connect").click()
        await page.wait_for_function("() => document.querySelector('#talk').dataset.running === 'true'")
        await page.locator("#session", has_text="ses_").wait_for()
        answer = await page.evaluate(
            """async (key) => {
                const { VoiceClient } = await import('/client/voice-client.js');
                const client = new VoiceClient({ url: '/no/such/socket', apiKey: key, retryDelaysMs: [1] });
                const done = new Promise((resolve) => client.on('chat.complete', ({ text }) => resolve(text)));
                await client.connect();
                client.sendText('Hello in writing');
                return await done;
            }""",
            KEY,
        )
        assert answer == "You said: Hello in writing."
