"""The page, open in Chromium, against the scripted stand-in: what most browser tests begin with."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
from browser import chromium, open_page, write_wav
from voice_stub import LIMIT_S, VoiceStub

if TYPE_CHECKING:
    from playwright.async_api import Page

TONE_HZ = 440.0
MICROPHONE_HZ = 16_000


@asynccontextmanager
async def stub_page(stub: VoiceStub, microphone: Path | None = None, **context_options: Any) -> AsyncGenerator[Page]:
    """Serves ``stub`` and opens its page, with ``microphone`` (a wav) as what the user says."""
    async with (
        stub.serve(),
        chromium(microphone) as browser,
        open_page(browser, stub.url, **context_options) as page,
    ):
        await page.evaluate("async () => { globalThis.client = (await import('/app.js')).client }")
        yield page


def tone_wav(folder: Path) -> Path:
    """Three seconds of a plain tone, which survives what browsers do to microphones and is easy to recognise."""
    t = np.arange(3 * MICROPHONE_HZ) / MICROPHONE_HZ
    tone = np.asarray(9_000 * np.sin(2 * np.pi * TONE_HZ * t), dtype=np.int16)
    return write_wav(folder / "tone.wav", tone, MICROPHONE_HZ)


async def finished(done: anyio.Event) -> None:
    """Waits until a script has said that it is through."""
    with anyio.fail_after(LIMIT_S):
        await done.wait()


async def output_level(page: Page) -> float:
    """How loud the page's analyser measures the agent right now, 0 to 1."""
    return await page.evaluate("client.outputLevel")


async def until_silent(page: Page) -> None:
    """Waits until the page makes no sound."""
    await page.wait_for_function("() => client.outputLevel === 0")


async def until_audible(page: Page) -> None:
    """Waits until the page makes a sound."""
    await page.wait_for_function("() => client.outputLevel > 0.3")
