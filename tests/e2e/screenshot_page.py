"""Takes the picture of the page after a conversation: ``python tests/e2e/screenshot_page.py [URL] [--out FILE]``.

With a URL it talks to the server there: it types the question, waits for the answer, presses Talk, speaks the wav
(``--spoken`` questions, with pauses long enough for their answers) and waits again. Without one it plays the scripted
conversation against the stand-in.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from browser import chromium, open_page
from demo_conversation import conversation
from voice_stub import VoiceStub

if TYPE_CHECKING:
    from playwright.async_api import Page

ROOT = Path(__file__).parents[2]
ANSWER_LIMIT_MS = 60_000


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", help="the running server, such as http://localhost:8080/")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/page.png")
    parser.add_argument("--wav", type=Path, default=ROOT / "tests/fixtures/speech/goforward.wav")
    parser.add_argument("--spoken", type=int, default=1, help="how many questions the wav holds")
    parser.add_argument("--question", default="When is high water today?")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=860)
    parser.add_argument("--dark", action="store_true")
    return parser.parse_args()


async def answered(page: Page, turns: int) -> None:
    """Waits until this many turns are over and silence has returned."""
    await page.wait_for_function(
        "n => document.querySelectorAll('.usage').length >= n", arg=turns, timeout=ANSWER_LIMIT_MS
    )
    await page.wait_for_selector("#state:not([data-activity=speaking])", state="attached", timeout=ANSWER_LIMIT_MS)


async def type_and_talk(page: Page, spoken_turns: int, question: str) -> None:
    """Has the conversation."""
    await page.fill("#prompt", question)
    await page.press("#prompt", "Enter")
    await answered(page, 1)
    await page.click("#talk")
    await answered(page, 1 + spoken_turns)
    await page.mouse.move(0, 0)


async def take(options: argparse.Namespace, url: str, spoken_turns: int) -> None:
    """One browser, one conversation, one picture."""
    context = {
        "viewport": {"width": options.width, "height": options.height},
        "device_scale_factor": 1.25,
        "color_scheme": "dark" if options.dark else "light",
    }
    async with chromium(options.wav, loop=False) as browser, open_page(browser, url, **context) as page:
        await type_and_talk(page, spoken_turns, options.question)
        await page.screenshot(path=options.out)


async def main() -> None:
    """Against the server named, or against the stand-in."""
    options = arguments()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.url is not None:
        await take(options, options.url, options.spoken)
        return
    async with VoiceStub(conversation).serve() as stub:
        await take(options, stub.url, 2)


if __name__ == "__main__":
    asyncio.run(main())
