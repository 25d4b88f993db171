"""The whole product as people meet it: a real browser, a microphone with a human voice, the real server and engines.

Over each of the two transports. What was said is compared with the page's words; what the page played is recorded at
its loudspeaker and transcribed back. Everything that happens is timed in samples of that loudspeaker.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import numpy as np
import pytest
from browser import chromium, needs_chromium, open_page, write_wav
from page_witness import Event, Recording, Witness, preferring
from real_server import RealServer, require_engines, turns_used
from spoken import clip, decoded, match, quiet, transcript

from audio.formats import HEARING_RATE_HZ, AudioFormat, Encoding
from audio.stt.whisper_model import WhisperModel, packaged_model

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.engines, needs_chromium]

UNDERSTOOD = 0.75
INTELLIGIBLE = 0.8
RATE_HZ = 24_000
SPOKEN = ["endpoint", "stt", "agent", "tts", "egress", "total"]
TYPED = SPOKEN[2:]
STOPS_WITHIN_MS = 100
"""Of sound after Escape: a ramp, and what the audio thread needs to hear of it on a busy machine."""


@pytest.fixture(params=["webrtc", "websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    """What carries the conversation."""
    return str(request.param)


@pytest.fixture(scope="module")
def listener() -> WhisperModel:
    """Who listens to the page."""
    require_engines()
    return WhisperModel(packaged_model(), workers=1)


def microphone(folder: Path, *parts: str | float) -> Path:
    """What the user says, by the names of recordings, and how many seconds of a quiet room lie between."""
    said = [clip(part) if isinstance(part, str) else quiet(part) for part in parts]
    return write_wav(folder / "microphone.wav", np.concatenate(said), HEARING_RATE_HZ)


@asynccontextmanager
async def conversation(
    server: RealServer, transport: str, voice: Path | None = None
) -> AsyncGenerator[tuple[Page, Witness]]:
    """The server's page with somebody who listens to it; the microphone says its piece once."""
    async with (
        chromium(voice, loop=False) as browser,
        open_page(browser, server.url, storage_state=preferring(server.url, transport)) as page,
    ):
        witness = Witness(page)
        await witness.begin()
        yield page, witness
        assert {event["transport"] for event in await witness.events("transport")} == {transport}


async def ask(page: Page, question: str) -> None:
    await page.fill("#prompt", question)
    await page.press("#prompt", "Enter")


async def heard_of(witness: Witness, turn: Event) -> Recording:
    """What the page played of a turn that was heard to its end."""
    drained = await witness.until("playback", requestId=turn["request_id"], state="drained")
    recording = await witness.recording(drained["frame"])
    return recording.between(turn["frame"], drained["frame"])


async def understood(listener: WhisperModel, played: Recording) -> str:
    """What somebody in front of the loudspeaker understands."""
    seconds = [played.samples[at : at + played.rate_hz] for at in range(0, len(played.samples), played.rate_hz)]
    samples = decoded((each.tobytes() for each in seconds), AudioFormat(Encoding.PCM16, played.rate_hz))
    return (await anyio.to_thread.run_sync(listener.decode, samples, listener.prompt("en"))).text


async def goes_on_sounding_ms(witness: Witness, since: Event) -> float:
    """For how long after an event the loudspeaker is not yet silent, in the second that follows it."""
    end = since["frame"] + RATE_HZ
    after = (await witness.recording(end)).between(since["frame"], end)
    return (max(after.sounds(), default=since["frame"]) - since["frame"]) * 1_000 / after.rate_hz


async def ledger(server: RealServer, session: Event, turns: int = 1) -> list[tuple[str, bool]]:
    """Which turns of a session the ledger holds, and which were interrupted, once there are as many."""
    with anyio.fail_after(15):
        while True:
            every = await anyio.to_thread.run_sync(turns_used, server.data_dir)
            events = [event for event in every if event["session_id"] == session["session_id"]]
            if len(events) >= turns:
                events.sort(key=lambda event: event["started_at"])
                return [(event["request_id"], event["interrupted"]) for event in events]


async def words_of(page: Page, speaker: str) -> list[str]:
    """What one of the two has said, as the page shows it."""
    return await page.locator(f".entry.{speaker} .words").all_inner_texts()


async def waterfall(page: Page) -> list[list[str]]:
    """The stages the page shows, turn by turn, the newest first."""
    return await page.evaluate(
        "[...document.querySelectorAll('.waterfall')].map((table) => [...table.tBodies[0].rows].map((row) =>"
        " row.className.replace('stage-', '')))"
    )


async def test_a_spoken_question_is_answered_aloud_escape_silences_and_the_talk_goes_on(
    embedded: RealServer, transport: str, listener: WhisperModel, tmp_path: Path
) -> None:
    voice = microphone(tmp_path, 0.5, "goforward", 4.5, "librivox_0930", 1.0)
    async with conversation(embedded, transport, voice) as (page, witness):
        await page.click("#talk")
        first = await witness.until("turn.started")
        await page.wait_for_function("() => client.outputLevel > 0.3")
        await page.keyboard.press("Escape")
        assert (await witness.until("chat.complete", request_id=first["request_id"]))["interrupted"]
        escape = await witness.until("key", key="Escape")
        assert await goes_on_sounding_ms(witness, escape) < STOPS_WITHIN_MS

        second = await witness.until("turn.started", nth=2)
        done = await witness.until("chat.complete", request_id=second["request_id"])
        assert match(done["text"], await understood(listener, await heard_of(witness, second))) >= INTELLIGIBLE
        assert (await words_of(page, "agent"))[1] == done["text"]

        await ask(page, "What is seventeen times three?")
        third = await witness.until("turn.started", nth=3)
        assert match("fifty one", await understood(listener, await heard_of(witness, third))) == 1

        users = await words_of(page, "user")
        assert match(transcript("goforward"), users[0]) >= UNDERSTOOD
        assert match(transcript("librivox_0930"), users[1]) >= UNDERSTOOD
        assert await waterfall(page) == [TYPED, SPOKEN, SPOKEN]
        activities = [event["activity"] for event in await witness.events("activity")]
        assert ("speaking", "thinking") not in pairwise(activities), activities
        assert await witness.events("error") == await witness.events("degraded") == []
        turns = [turn["request_id"] for turn in (first, second, third)]
        session = await witness.until("session.started")
        assert set(session["capabilities"]) == {"vad", "endpoint", "stt", "llm", "tts"}
        assert await ledger(embedded, session, 3) == list(zip(turns, (True, False, False), strict=True))


async def test_the_agent_falls_silent_when_the_user_speaks_and_answers_what_was_said(
    embedded: RealServer, transport: str, listener: WhisperModel, tmp_path: Path
) -> None:
    voice = microphone(tmp_path, 0.5, "goforward", 3.0, "librivox_0930", 1.0)
    async with conversation(embedded, transport, voice) as (page, witness):
        await page.click("text=Preferences")
        await page.select_option("#rate", "0.75")  # so that there is something to interrupt
        await page.click("#talk")
        interrupted = await witness.until("voice.interrupted")
        first = await witness.until("turn.started")
        assert interrupted["request_id"] == first["request_id"]
        assert 0 < interrupted["heard_ms"] < 4_000
        before = (await witness.recording(interrupted["frame"])).between(first["frame"], interrupted["frame"])
        assert match(interrupted["heard_text"], await understood(listener, before)) >= UNDERSTOOD
        assert await goes_on_sounding_ms(witness, interrupted) < STOPS_WITHIN_MS
        second = await witness.until("turn.started", nth=2)
        assert match(transcript("librivox_0930"), second["text"]) >= UNDERSTOOD
        await page.wait_for_function("() => client.outputLevel > 0.3")
        assert "interrupted; not said:" in (await words_of(page, "agent"))[0]
        await page.click("#talk")  # the end of the session: nobody hears the rest of the second answer
        turns = [first["request_id"], second["request_id"]]
        session = await witness.until("session.started")
        assert await ledger(embedded, session, 2) == [(turn, True) for turn in turns]


async def test_push_to_talk_hears_what_was_said_while_the_key_was_held(
    embedded: RealServer, transport: str, tmp_path: Path
) -> None:
    voice = microphone(tmp_path, 1.0, "goforward", 1.0)
    async with conversation(embedded, transport, voice) as (page, witness):
        await page.check("#push-to-talk")
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=push-to-talk]", state="attached")
        await page.locator("body").click(position={"x": 5, "y": 5})
        await page.keyboard.down("Space")
        await witness.until("vad.speech_stopped")
        assert await witness.events("turn.started") == [], "a pause is no end while the key is held"
        await page.keyboard.up("Space")
        turn = await witness.until("turn.started")
        assert match(transcript("goforward"), turn["text"]) >= UNDERSTOOD
        await page.wait_for_function("() => client.outputLevel > 0.3")
        assert await witness.events("error") == await witness.events("degraded") == []


async def test_a_session_changes_over_to_the_other_transport_and_knows_what_was_said(embedded: RealServer) -> None:
    async with (
        chromium() as browser,
        open_page(browser, embedded.url, storage_state=preferring(embedded.url, "auto")) as page,
    ):
        witness = Witness(page)
        await witness.begin()
        await page.click("text=Preferences")
        questions = ("What is two times three?", "What is three times four?", "What is four times five?")
        for nth, (question, over) in enumerate(zip(questions, ("auto", "websocket", "webrtc"), strict=True), start=1):
            await page.select_option("#transport", over)
            if nth > 1:
                await page.locator("#carrier", has_text={"websocket": "WebSocket", "webrtc": "WebRTC"}[over]).wait_for()
            await ask(page, question)
            turn = await witness.until("turn.started", nth=nth)
            await witness.until("playback", requestId=turn["request_id"], state="drained")
        session = await witness.until("session.started")
        resumed = await witness.events("session.resumed")
        assert [event["session_id"] for event in resumed] == [session["session_id"]] * 2
        carriers = [event["transport"] for event in await witness.events("transport")]
        assert carriers == ["webrtc", "websocket", "webrtc"]
        assert [interrupted for _, interrupted in await ledger(embedded, session, 3)] == [False] * 3
        assert await witness.events("error") == await witness.events("degraded") == []


async def test_a_page_reloaded_in_the_middle_of_an_answer_begins_anew(embedded: RealServer, transport: str) -> None:
    async with conversation(embedded, transport) as (page, witness):
        await ask(page, "Tell me about the moon.")
        left = await witness.until("turn.started")
        deserted = await witness.until("session.started")
        await page.wait_for_function("() => client.outputLevel > 0.3")
        await page.reload()
        await witness.begin()
        await ask(page, "What is seventeen times three?")
        turn = await witness.until("turn.started")
        await witness.until("playback", requestId=turn["request_id"], state="drained")
        session = await witness.until("session.started")
        assert await ledger(embedded, session) == [(turn["request_id"], False)]
        assert [turn_id for turn_id, _ in await ledger(embedded, deserted)] == [left["request_id"]]
        assert await witness.events("error") == []
    assert embedded.readiness()["status"] == "ready"
