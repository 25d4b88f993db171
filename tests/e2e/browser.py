"""Chromium for tests: headless, with a microphone that plays a file, driven through Playwright.

Knows nothing of the page. Where Chromium or Playwright is missing, tests marked with ``needs_chromium`` are skipped
and say so.
"""

from __future__ import annotations

import importlib.util
import shutil
import wave
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from playwright.async_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_MISSING = "Chromium is not installed" if CHROMIUM is None else "the playwright package is not installed"

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None, reason=f"browser test: {_MISSING}"
)

FLAGS: Sequence[str] = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium(microphone: Path | None = None, *, loop: bool = True) -> AsyncGenerator[Browser]:
    """A browser whose microphone plays ``microphone`` (a wav), over and over or once; the built-in beep without."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 - only where a browser test runs

    flags = [*FLAGS]
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}{'' if loop else '%noloop'}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags, headless=True)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_page(browser: Browser, url: str, **context_options: Any) -> AsyncGenerator[Page]:
    """The page at ``url`` in a context of its own; any error on its console fails the block."""
    context = await browser.new_context(**context_options)
    page = await context.new_page()
    page.set_default_timeout(15_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    await page.goto(url)
    try:
        yield page
    finally:
        await context.close()
    # Refusals are what some tests are about; the browser logs each one.
    refusals = ("WebSocket connection", "Failed to load resource")
    unexpected = [error for error in errors if not any(refusal in error for refusal in refusals)]
    assert unexpected == [], f"errors on the page: {unexpected}"


def write_wav(path: Path, pcm: npt.NDArray[np.int16], rate_hz: int) -> Path:
    """Writes mono 16-bit samples as a wav file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())
    return path
