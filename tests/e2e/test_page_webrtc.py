"""The page over WebRTC: what it sends and plays there, and that nothing else about it is different."""

from __future__ import annotations

from pathlib import Path

import anyio
import numpy as np
import pytest
from browser import needs_chromium
from rtc_stub import HEARING_HZ, RtcCall, RtcStub
from stub_page import TONE_HZ, finished, output_level, stub_page, tone_wav, until_audible, until_silent
from voice_stub import Message, StubCall, speechlike

from server.contracts.voice import CLIENT_MESSAGE

pytestmark = [pytest.mark.browser, needs_chromium]

SILENCE = 20.0
SOUND = 500.0


def loudness(frames: list[bytes]) -> float:
    """Root mean square of what came in, of 32768."""
    samples = np.frombuffer(b"".join(frames), dtype=np.int16).astype(np.float64)
    return float(np.sqrt(np.mean(samples**2)))


def loudest_hz(frames: list[bytes]) -> float:
    """The strongest frequency in what came in."""
    samples = np.frombuffer(b"".join(frames), dtype=np.int16).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * HEARING_HZ / len(samples))


async def until_loudness(call: StubCall, low: float, high: float) -> None:
    """Waits until the last 200 ms were as loud as that."""
    with anyio.fail_after(10):
        while len(call.frames) < 10 or not low <= loudness(call.frames[-10:]) <= high:
            await call.expect_frames(1)


async def test_both_voices_travel_as_tracks_and_messages_on_the_data_channel(tmp_path: Path) -> None:
    halfway, done = anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.expect_frames(75)
        await call.send("turn.started", "t-1", text="hello", source="speech")
        caption = {"speaker": "agent", "text": "one two three four five six seven eight", "final": True}
        await call.send("caption", "t-1", start_ms=0, end_ms=2_000, **caption)
        await call.send_audio("t-1", speechlike(2_000))
        await call.send("turn.latency", "t-1", stages=[])
        await call.heard("t-1", 1_200)
        halfway.set()
        await call.heard("t-1", 1_800)
        await call.send("voice.audio.done", "t-1", audio_ms=2_000)
        await call.heard("t-1", 2_000)
        await call.send("chat.complete", "t-1", text="One to eight.")
        done.set()

    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        assert await page.inner_text("#carrier") == "over WebRTC"
        await until_audible(page)
        await page.wait_for_selector("#state[data-activity=speaking]", state="attached")
        shown = await page.inner_text(".entry.agent .words")
        assert shown.startswith("one")
        assert "eight" not in shown
        await finished(halfway)
        assert "four" in await page.inner_text(".entry.agent .words")
        await finished(done)
        await page.locator(".entry.agent", has_text="eight").wait_for()
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        await until_silent(page)
        assert "WebRTC" in await page.inner_text("#session")
        assert await page.locator(".notice").count() == 0
        call = stub.calls[0]
        assert isinstance(call, RtcCall)
        assert call.early_frames < 100, "only what was said while it connected comes in messages"
        assert loudest_hz(call.frames[25:75]) == pytest.approx(TONE_HZ, abs=3)
        start, *others = call.messages
        assert (start["type"], start["binary"]) == ("voice.start", True), "it may have to go on over a socket"
        assert [message["type"] for message in others] == []
        await page.click("#talk")
        with anyio.fail_after(5):
            await call.closed.wait()
    assert stub.ended == [call.path]


async def test_what_is_said_while_it_connects_is_heard_too(tmp_path: Path) -> None:
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.expect_frames(50)
        done.set()

    stub = RtcStub(script, may_answer=anyio.Event())
    assert stub.may_answer is not None
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.wait_for_function("() => document.querySelector('#meter').getAttribute('aria-valuenow') > 20")
        stub.may_answer.set()
        await finished(done)
        call = stub.calls[0]
        assert isinstance(call, RtcCall)
        assert call.early_frames > 0
        assert loudest_hz(call.frames[: call.early_frames]) == pytest.approx(TONE_HZ, abs=30)


async def test_everything_the_page_sends_is_valid_by_the_contract(tmp_path: Path) -> None:
    audible, done = anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="hello", source="speech")
        await call.send_audio("t-1", speechlike(3_000))
        await call.heard("t-1", 500)
        audible.set()
        for kind in ("voice.cancel", "chat.start", "voice.update"):
            await call.expect(kind)
        done.set()

    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await finished(audible)
        await page.click("#stop")
        await page.fill("#prompt", "and in writing")
        await page.press("#prompt", "Enter")
        await page.check("#push-to-talk")
        await finished(done)
    for message in stub.calls[0].messages:
        CLIENT_MESSAGE.validate_python(message, strict=False)


async def test_an_interruption_silences_the_page_and_a_held_answer_goes_on(tmp_path: Path) -> None:
    hold, resume, done = anyio.Event(), anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="tell me", source="speech")
        await call.send("chat.token", "t-1", text="one two three four")
        caption = {"speaker": "agent", "text": "one two three four", "final": True}
        await call.send("caption", "t-1", start_ms=0, end_ms=3_000, **caption)
        await call.send_audio("t-1", speechlike(3_000))
        await hold.wait()
        await call.send("voice.interrupted", "t-1", heard_ms=1_000, heard_text="one", resumable=True)
        await resume.wait()
        await call.send("voice.resumed", "t-1", from_ms=1_000)
        await call.send_audio("t-1", speechlike(2_000), start_ms=1_000)
        await call.heard("t-1", 2_800)
        await call.send("voice.audio.done", "t-1", audio_ms=3_000)
        await call.heard("t-1", 3_000)
        done.set()

    async with stub_page(RtcStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await until_audible(page)
        hold.set()
        await page.wait_for_selector("#state[data-activity=held]", state="attached")
        await until_silent(page)
        assert await page.inner_text(".unspoken") == "two three four"
        resume.set()
        await until_audible(page)
        assert await page.inner_text(".entry.agent .words") != "one two three four"
        await finished(done)
        await page.locator(".entry.agent .words", has_text="one two three four").wait_for()


async def test_escape_silences_the_page_before_the_server_answers(tmp_path: Path) -> None:
    cancelled, late = anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="tell me", source="speech")
        await call.send_audio("t-1", speechlike(10_000))
        assert (await call.expect("voice.cancel"))["request_id"] == "t-1"
        cancelled.set()
        await call.send("transcript.partial", utterance_id=2, text="after the late audio", start_ms=0, end_ms=1)
        await late.wait()
        assert isinstance(call, RtcCall)
        call.voice.hush()
        await call.send("turn.started", "t-2", text="and now", source="text")
        await call.send_audio("t-2", speechlike(2_000))

    async with stub_page(RtcStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await until_audible(page)
        await page.keyboard.press("Escape")
        assert await output_level(page) == 0
        await finished(cancelled)
        await page.locator(".entry.user", has_text="after the late audio").wait_for()
        assert await output_level(page) == 0, "what the server still sends of it is not heard"
        late.set()
        await until_audible(page)


async def test_typing_needs_no_microphone_and_is_answered_aloud() -> None:
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        asked = await call.expect("chat.start")
        turn_id = asked["request_id"]
        await call.send("turn.started", turn_id, text=asked["prompt"], source="text")
        await call.send("caption", turn_id, speaker="agent", text="Ten past four.", start_ms=0, end_ms=900, final=True)
        await call.send_audio(turn_id, speechlike(900))
        await call.heard(turn_id, 800)
        await call.send("voice.audio.done", turn_id, audio_ms=900)
        await call.send("chat.complete", turn_id, text="Ten past four.")
        done.set()

    stub = RtcStub(script)
    async with stub_page(stub) as page:
        await page.fill("#prompt", "what time is it?")
        await page.press("#prompt", "Enter")
        await until_audible(page)
        await finished(done)
        await page.locator(".entry.agent .words", has_text="Ten past four.").wait_for()
        assert await page.locator(".entry").count() == 2
        await page.wait_for_selector("#state[data-activity=ready]", state="attached")
        assert await page.inner_text("#carrier") == "over WebRTC"
    assert stub.calls[0].frames == []


async def test_a_refused_microphone_is_explained_and_the_answer_is_heard() -> None:
    async def script(call: StubCall) -> None:
        await call.start()
        asked = await call.expect("chat.start")
        await call.send("turn.started", asked["request_id"], text=asked["prompt"], source="text")
        await call.send_audio(asked["request_id"], speechlike(2_000))

    async with stub_page(RtcStub(script)) as page:
        await page.evaluate(
            """() => {
                navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') };
            }"""
        )
        await page.click("#talk")
        notice = page.locator(".notice.warning")
        await notice.wait_for()
        assert "was not allowed to use the microphone" in await notice.inner_text()
        await page.fill("#prompt", "then in writing")
        await page.press("#prompt", "Enter")
        await until_audible(page)


async def test_a_muted_microphone_sends_silence(tmp_path: Path) -> None:
    async def script(call: StubCall) -> None:
        await call.start()

    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        await until_loudness(stub.calls[0], SOUND, 32_768)
        await page.click("#mute")
        await page.wait_for_selector("#state[data-activity=muted]", state="attached")
        await until_loudness(stub.calls[0], 0, SILENCE)
        await page.click("#mute")
        await until_loudness(stub.calls[0], SOUND, 32_768)


async def test_push_to_talk_is_heard_only_while_held_and_to_its_last_syllable(tmp_path: Path) -> None:
    committed = [anyio.Event(), anyio.Event()]
    at_commit: list[list[bytes]] = []
    start: list[Message] = []

    async def script(call: StubCall) -> None:
        start.append(await call.start())
        for event in committed:
            await call.expect("voice.commit")
            at_commit.append(call.frames[-15:])
            event.set()

    stub = RtcStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.check("#push-to-talk")
        await page.click("#talk")
        await page.wait_for_selector("#state[data-activity=push-to-talk]", state="attached")
        assert start[0]["turn_detection"] == {"type": "push_to_talk"}
        await page.wait_for_function("() => document.querySelector('#meter').getAttribute('aria-valuenow') > 20")
        await until_loudness(stub.calls[0], 0, SILENCE)

        await page.locator("#talk").hover()
        await page.mouse.down()
        await until_loudness(stub.calls[0], SOUND, 32_768)
        await stub.calls[0].expect_frames(25)
        await page.mouse.up()
        await finished(committed[0])
        await until_loudness(stub.calls[0], 0, SILENCE)

        await page.focus("#talk")
        await page.keyboard.press("Enter")
        await until_loudness(stub.calls[0], SOUND, 32_768)
        await page.keyboard.press("Enter")
        await finished(committed[1])
    for frames in at_commit:
        assert loudness(frames[-3:]) < SOUND, "the commit comes after the last that was said"
        assert loudness(frames[:5]) > SOUND, "and not long after it"
