"""A whole conversation over WebRTC with nothing but Azure behind it: recognition, model and voice by the genuine SDKs.

Azure Speech is ``convergio-voice azure-emulator`` with the embedded engines, so that what is recognised is what was
said; Azure OpenAI a chat endpoint on the loopback interface, asked as Azure wants to be asked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from anyio import to_thread
from azure.emulator_process import azure_emulator
from clients.chat_endpoint import SHORT_ANSWER, chat_endpoint
from real_server import PROGRAM, require_engines, serving
from rtc_caller import call
from spoken import match, said, transcript

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
pytestmark = [pytest.mark.engines, pytest.mark.timeout(150)]


async def test_two_turns_over_webrtc_are_heard_answered_and_spoken_by_azure(tmp_path: Path) -> None:
    require_engines()
    with azure_emulator(scripted=False) as speech, chat_endpoint() as model:
        chosen: dict[str, object] = {
            "stt__engine": "azure",
            "stt__fallback": "none",
            "tts__engine": "azure",
            "tts__fallback": "none",
            "azure__host": speech.ws_url,
            "azure__key": "any",
            "model__base_url": model.root_url,
            "model__azure_api_version": "2024-10-21",
            "model__model": "talker",
            "model__api_key": "secret",
        }
        with serving([str(PROGRAM), "serve", "--port", "0"], tmp_path, chosen) as server:
            async with call(server.url) as caller:
                await caller.start()
                for number, name in enumerate(("goforward", "librivox_0930"), start=1):
                    since = caller.ear.position
                    await caller.speak(said(name))
                    answered = await caller.until("chat.complete", number)
                    assert answered["text"] == SHORT_ANSWER
                    heard = (await caller.heard(since)).astype(np.float64)
                    assert np.sqrt(np.mean(heard**2)) > 100, "the answer is to be heard"
                    assert match(transcript(name), caller.of("turn.started")[-1]["text"]) >= 0.75
                assert caller.of("degraded") == []
                assert caller.of("error") == []
                await caller.hang_up()
        state = await to_thread.run_sync(speech.state)
    assert state["phrases"] >= 2
    assert state["bytes_out"] > 0
    for path, headers in model.asked:
        assert path == "/openai/deployments/talker/chat/completions?api-version=2024-10-21"
        assert "api-key" in headers
    said_before = [message["content"] for message in model.requests[-1]["messages"] if message["role"] == "assistant"]
    assert said_before == [SHORT_ANSWER], "the second turn knows the first"
