"""The OpenAI Agents SDK in Chromium holds a whole conversation over WebRTC with an ephemeral key from our server."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clients.chat_endpoint import FUNCTION_ANSWER, FUNCTION_ARGUMENTS, LONG_ANSWER, SHORT_ANSWER
from clients.dialogue import FUNCTION_OUTPUT, INSTRUCTIONS
from clients.harness import CLIPS, INTELLIGIBLE, KEY, UNDERSTOOD, Listener
from e2e.browser import chromium, needs_chromium, open_page
from e2e.real_server import RealServer
from e2e.spoken import clip, match, quiet, transcript
from openai import AsyncOpenAI

from audio.formats import HEARING_RATE_HZ, Samples

pytestmark = [pytest.mark.engines, pytest.mark.browser, pytest.mark.timeout(150), needs_chromium]

# The recording is the user's whole part: pauses are long enough for a slow machine, and for the answer under way.
BEFORE_S, FOR_THE_ERRAND_S, INTO_THE_ANSWER_S, AT_THE_END_S = 8.0, 14.0, 5.0, 30.0
LIMIT_MS = 90_000
ROOM_MS = 500  # from an event to its sound


def users_part(path: Path) -> Path:
    """What the microphone plays, once."""
    parts = [quiet(BEFORE_S), clip(CLIPS["errand"]), quiet(FOR_THE_ERRAND_S), clip(CLIPS["question"])]
    parts += [quiet(INTO_THE_ANSWER_S), clip(CLIPS["interruption"]), quiet(AT_THE_END_S)]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, HEARING_RATE_HZ, 0, "NONE", None))
        file.writeframes(np.concatenate(parts).tobytes())
    return path


def recorded(report: dict[str, Any]) -> Samples:
    """What the page's loudspeaker played, at 16 kHz."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=HEARING_RATE_HZ)
    with av.open(io.BytesIO(base64.b64decode(report.pop("recording")))) as container:
        frames = [made for frame in container.decode(audio=0) for made in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


async def test_the_agents_sdk_in_a_browser_holds_a_whole_conversation(
    server: RealServer, pages: str, listener: Listener, tmp_path: Path
) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        secret = await client.realtime.client_secrets.create(session={"type": "realtime", "model": "gpt-realtime"})
    given = {"url": server.url, "key": secret.value, "instructions": INSTRUCTIONS, "output": FUNCTION_OUTPUT}
    given |= {"answersWanted": 3, "limitMs": LIMIT_MS}
    async with (
        chromium(users_part(tmp_path / "user.wav"), loop=False) as browser,
        open_page(browser, f"{pages}/page/index.html") as page,
    ):
        page.set_default_timeout(LIMIT_MS + 10_000)
        await page.wait_for_function("window.report?.step === 'loaded'")
        report = await page.evaluate("given => window.converse(given)", given)
    heard = recorded(report) if report["recording"] else np.empty(0, np.int16)
    assert report["errors"] == [], report
    assert report["step"] == "over", report
    assert report["callId"], "the page could not read the Location header"
    for name, text in zip(CLIPS.values(), report["heard"], strict=True):
        assert match(transcript(name), text) >= UNDERSTOOD, report
    assert report["calls"] == [FUNCTION_ARGUMENTS], report
    errand, question, last = report["answers"]
    assert [errand["end"], question["end"], last["end"]] == ["stopped", "cleared", "stopped"], report
    assert LONG_ANSWER.startswith(question["text"][:40]), report
    spoken = ((errand, 0, FUNCTION_ANSWER.format("the kitchen window")), (last, question["ended_ms"], SHORT_ANSWER))
    for answer, since_ms, text in spoken:
        assert match(text, answer["text"]) == 1, report
        # A busy page is told late that an answer began: all since the one before is listened to, for it was quiet.
        understood = listener.understood(heard[(since_ms + ROOM_MS) * 16 : (answer["ended_ms"] + ROOM_MS) * 16])
        assert match(text, understood) >= INTELLIGIBLE, (text, understood)
    reasons = [(response["status"], response["reason"]) for response in report["responses"]]
    assert reasons.count(("cancelled", "turn_detected")) == 1, report
    assert any(response["usage"]["output_tokens"] > 0 for response in report["responses"] if response["usage"])
    assert report["counts"].get("response.output_audio.delta", 0) == 0, "audio belongs on the track"
    assert report["audioEnergy"] > 0
