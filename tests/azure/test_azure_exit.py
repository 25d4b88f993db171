"""A process that used the SDK ends by itself and cleanly, whether or not it closed its engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from azure.emulator_process import EmulatorProcess

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")

PROGRAM = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from azure.azure_engines import Ears, clip, say
from audio.azure.credentials import KeyCredential
from audio.azure.settings import AzurePlace, AzureSttSettings, AzureTtsSettings
from audio.inference import InferencePool
from audio.stt.azure import AzureSpeechToText
from audio.stt.port import SttOptions
from audio.tts.azure import AzureTextToSpeech
from audio.tts.port import SpeechRequest

async def main(place, closes):
    workers = InferencePool(workers=4)
    await workers.start()
    stt = AzureSpeechToText(AzureSttSettings(place), KeyCredential("any"), workers)
    tts = AzureTextToSpeech(AzureTtsSettings(place), KeyCredential("any"), workers)
    ears = Ears()
    stream = await stt.open(SttOptions(), ears.on_transcript, ears.on_failure)
    stream.begin(1, 0)
    stream.flush(1, await say(stream, clip(), 0, real_time=False))
    await ears.until(lambda: ears.answers)
    assert [piece async for piece in tts.speak(SpeechRequest("Hello."))]
    text = await tts.open_text(SpeechRequest("Never finished. "))
    if closes:
        await stream.aclose(); await text.aclose(); await stt.aclose(); await tts.aclose(); await workers.aclose()
    print("done", flush=True)

asyncio.run(main(AzurePlace(host={url!r}), {closes!r}))
"""


@pytest.mark.parametrize("closes", [True, False])
def test_the_interpreter_exits_cleanly(service: EmulatorProcess, closes: bool) -> None:
    program = PROGRAM.format(tests=str(Path(__file__).parents[1]), url=service.ws_url, closes=closes)
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr
        assert "FATAL" not in done.stderr
