"""Human speech over a telephone line and an answer that can be understood: the embedded engines, mu-law both ways."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest
from phone_carrier import TELEPHONY, TwilioCarrier, linear, twilio_call
from real_server import require_engines
from spoken import match, said, transcript

from agents.core.options import Engines
from audio.codecs.resample import StreamResampler
from audio.stt.whisper_model import WhisperModel, packaged_model
from server.agent_choice import build_agent
from server.app import Application
from server.engines import EngineSet
from server.listening import listen
from server.serving import running
from server.settings import Settings, load_settings
from tests.scripted_server import EchoModel, Served, eventually

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

GREETING = "Welcome to the school office, how can I help you?"


class RepeatingEngines(EngineSet):
    """The embedded ears and voice, and an agent that says what it was told."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._echo = build_agent(settings.agent, EchoModel())

    def for_sessions(self, *, simple_language: bool = False) -> Engines:
        return replace(super().for_sessions(simple_language=simple_language), agent=self._echo)


@asynccontextmanager
async def office(tmp_path: Path) -> AsyncGenerator[Served]:
    require_engines()
    telephony = {**TELEPHONY, "greeting": GREETING}
    given = {"telephony": telephony, "latency": {"enforce": False}, "model": {"engine": "none"}}
    settings = load_settings(host="127.0.0.1", port=0, data_dir=tmp_path, **given)
    application = Application(settings, engines=RepeatingEngines(settings))
    async with running(application, listen("127.0.0.1", 0)) as server:
        await application.wait_ready()
        yield Served(f"http://127.0.0.1:{server.port}", application, server)


def understood(listener: WhisperModel, coded: bytes) -> str:
    """The words somebody at the other end of the line hears."""
    line = StreamResampler(8_000, 16_000).process(linear(coded))
    room = np.zeros(8_000, np.int16)
    return listener.decode(np.concatenate([room, line, room]), listener.prompt("en")).text


async def quiet(call: TwilioCarrier) -> None:
    """Everything that was sent has been played, and nothing comes any more."""
    while True:
        before = len(call.heard)
        await anyio.sleep(1.5)
        if not call.buffered and len(call.heard) == before and before:
            return


async def test_a_caller_is_understood_and_understands_the_answer(tmp_path: Path) -> None:
    async with office(tmp_path) as one, twilio_call(one.url) as call:
        listener = WhisperModel(packaged_model(), workers=1)
        await quiet(call)
        assert match(GREETING, understood(listener, bytes(call.heard))) >= 0.8
        greeted = len(call.heard)
        await call.say(said("librivox_0930"), real_time=True)
        await eventually(lambda: len(call.heard) > greeted + 8_000, 40)
        await quiet(call)
        answer = understood(listener, bytes(call.heard[greeted:]))
        assert match(f"You said: {transcript('librivox_0930')}", answer) >= 0.75, answer
