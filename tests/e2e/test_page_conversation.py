"""The page in a conversation, in a real browser: what it sends, what it plays, what it shows."""

from __future__ import annotations

import base64
from pathlib import Path

import anyio
import numpy as np
import pytest
from browser import needs_chromium
from stub_page import MICROPHONE_HZ, TONE_HZ, finished, output_level, stub_page, tone_wav, until_audible, until_silent
from voice_stub import Message, StubCall, VoiceStub, speechlike

from server.contracts.voice import CLIENT_MESSAGE

pytestmark = [pytest.mark.browser, needs_chromium]

FRAME_BYTES = 2 * MICROPHONE_HZ * 20 // 1000
REFUSE_16_KHZ = """() => {
    const Real = AudioContext;
    globalThis.AudioContext = class extends Real {
        createMediaStreamSource(stream) {
            if (this.sampleRate === 16000) throw new DOMException('other rate', 'NotSupportedError');
            return super.createMediaStreamSource(stream);
        }
    };
}"""


def loudest_hz(frames: list[bytes]) -> float:
    """The strongest frequency in what was sent."""
    samples = np.frombuffer(b"".join(frames), dtype=np.int16).astype(np.float64)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * MICROPHONE_HZ / len(samples))


async def starts_and_listens(call: StubCall) -> None:
    await call.start()
    await call.expect_frames(75)


@pytest.mark.parametrize("init_script", ["() => {}", REFUSE_16_KHZ], ids=["context at 16 kHz", "worklet resamples"])
async def test_the_microphone_arrives_as_binary_frames_of_20_ms_at_16_khz(tmp_path: Path, init_script: str) -> None:
    stub = VoiceStub(starts_and_listens)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.evaluate(init_script)
        await page.click("#talk")
        await page.wait_for_function("() => document.querySelector('#meter').getAttribute('aria-valuenow') > 20")
        await page.wait_for_selector("#state[data-activity=listening]", state="attached")
        call = stub.calls[0]
        with anyio.fail_after(10):
            while len(call.frames) < 75:
                await call.expect_frames(1)
        assert {len(frame) for frame in call.frames} == {FRAME_BYTES}
        assert loudest_hz(call.frames[25:75]) == pytest.approx(TONE_HZ, abs=3)
        start = call.messages[0]
        assert (start["codec"], start["sample_rate"], start["binary"]) == ("pcm16", 16_000, True)


async def test_everything_the_page_sends_is_valid_by_the_contract(tmp_path: Path) -> None:
    played, done = anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="hello", source="speech")
        await call.send_audio("t-1", speechlike(3_000))
        await call.expect("voice.played")
        played.set()
        await call.expect("voice.cancel")
        await call.expect("chat.start")
        await call.expect("voice.update")
        await call.expect("voice.stop")
        done.set()

    stub = VoiceStub(script)
    async with stub_page(stub, tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await finished(played)
        await page.click("#stop")
        await page.fill("#prompt", "and in writing")
        await page.press("#prompt", "Enter")
        await page.check("#push-to-talk")
        await page.click("#end")
        await finished(done)
    for message in stub.calls[0].messages:
        CLIENT_MESSAGE.validate_python(message, strict=False)


async def test_what_the_user_says_is_provisional_until_it_is_final(tmp_path: Path) -> None:
    final = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        span: Message = {"utterance_id": 1, "start_ms": 0, "end_ms": 900}
        await call.send("vad.speech_started", utterance_id=1, at_ms=0)
        await call.send("transcript.partial", text="go for word", **span)
        await final.wait()
        await call.send("transcript.final", text="Go forward.", language="en-GB", **span)

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        entry = page.locator(".entry.user")
        await entry.filter(has_text="go for word").wait_for()
        assert await entry.locator(".meta").inner_text() == "still listening…"
        assert await page.inner_text("#state-words") == "Hearing you"
        final.set()
        await entry.filter(has_text="Go forward.").wait_for()
        assert await entry.locator(".meta").inner_text() == ""
        assert await page.locator(".entry").count() == 1
        assert await entry.locator(".words").get_attribute("class") == "words"
        assert "provisional" not in (await entry.get_attribute("class") or "")


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "base64"])
async def test_the_answer_is_played_and_its_captions_follow_the_voice(tmp_path: Path, binary: bool) -> None:
    played: list[int] = []
    halfway, done = anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="hello", source="speech")
        caption = {"speaker": "agent", "text": "one two three four five six seven eight", "final": True}
        await call.send("caption", "t-1", start_ms=0, end_ms=2_000, **caption)
        if binary:
            await call.send_audio("t-1", speechlike(2_000))
        else:
            text = base64.b64encode(speechlike(2_000).tobytes()).decode()
            await call.send("voice.audio", "t-1", bytes_base64=text, audio_ms=2_000, start_ms=0)
        await call.send("voice.audio.done", "t-1", audio_ms=2_000)
        while not played or played[-1] < 2_000:
            message = await call.expect("voice.played")
            assert message["request_id"] == "t-1"
            played.append(message["audio_ms"])
            if played[-1] >= 900:
                halfway.set()
        done.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await until_audible(page)
        await page.wait_for_selector("#state[data-activity=speaking]", state="attached")
        assert await page.inner_text("#state-words") == "Speaking"
        shown = await page.inner_text(".entry.agent .words")
        assert shown.startswith("one")
        assert "eight" not in shown
        await finished(halfway)
        assert "three" in await page.inner_text(".entry.agent .words")
        await finished(done)
        await page.locator(".entry.agent", has_text="eight").wait_for()
        await until_silent(page)
    assert played == sorted(played)
    assert played[-1] == 2_000
    assert max(np.diff([0, *played])) <= 320, "the server is told about every 200 ms"


async def test_an_interruption_silences_the_page_and_marks_what_was_not_said(tmp_path: Path) -> None:
    interrupt, done = anyio.Event(), anyio.Event()
    last: list[Message] = []

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="tell me", source="speech")
        await call.send("chat.token", "t-1", text="It was a dark and stormy night.")
        await call.send_audio("t-1", speechlike(20_000))
        await interrupt.wait()
        await call.send("voice.interrupted", "t-1", heard_ms=500, heard_text="It was", resumable=False)
        await call.send("chat.complete", "t-1", text="It was", interrupted=True)
        await call.send("turn.started", "t-2", text="stop", source="speech")
        await call.send_audio("t-2", speechlike(300))
        await call.send("voice.audio.done", "t-2", audio_ms=300)
        while not last or last[-1]["request_id"] != "t-2":
            last.append(await call.expect("voice.played"))
        done.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await until_audible(page)
        interrupt.set()
        await page.locator(".unspoken", has_text="a dark and stormy night.").wait_for()
        words = await page.inner_text(".entry.agent >> nth=0 >> .words")
        assert words == "It was interrupted; not said: a dark and stormy night."
        await finished(done)
        await until_silent(page)
    # Twenty seconds lay in the buffer. None of it was played after the cut, and the next turn was heard at once.
    assert max(message["audio_ms"] for message in last if message["request_id"] == "t-1") < 10_000


async def test_a_held_answer_goes_on_where_it_stopped(tmp_path: Path) -> None:
    hold, resume, done = anyio.Event(), anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="tell me", source="speech")
        await call.send("chat.token", "t-1", text="one two three four")
        await call.send(
            "caption", "t-1", speaker="agent", text="one two three four", start_ms=0, end_ms=4_000, final=True
        )
        await call.send_audio("t-1", speechlike(4_000))
        await hold.wait()
        await call.send("voice.interrupted", "t-1", heard_ms=1_000, heard_text="one", resumable=True)
        await resume.wait()
        await call.send("voice.resumed", "t-1", from_ms=1_000)
        await call.send_audio("t-1", speechlike(3_000), start_ms=1_000)
        await call.send("voice.audio.done", "t-1", audio_ms=4_000)
        while (await call.expect("voice.played"))["audio_ms"] < 4_000:
            pass
        done.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await until_audible(page)
        hold.set()
        await page.wait_for_selector("#state[data-activity=held]", state="attached")
        await until_silent(page)
        resume.set()
        await finished(done)
        assert await page.inner_text(".entry.agent .words") == "one two three four"


async def test_escape_silences_the_page_before_the_server_answers(tmp_path: Path) -> None:
    cancelled, late = anyio.Event(), anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="tell me", source="speech")
        await call.send_audio("t-1", speechlike(10_000))
        message = await call.expect("voice.cancel")
        assert message["request_id"] == "t-1"
        cancelled.set()
        await call.send_audio("t-1", speechlike(5_000), start_ms=10_000)
        await call.send("transcript.partial", utterance_id=2, text="after the late audio", start_ms=0, end_ms=1)
        late.set()

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await until_audible(page)
        await page.keyboard.press("Escape")
        await finished(cancelled)
        await until_silent(page)
        await finished(late)
        await page.locator(".entry.user", has_text="after the late audio").wait_for()
        assert await output_level(page) == 0


async def test_typing_needs_no_microphone_and_is_answered_aloud() -> None:
    done = anyio.Event()

    async def script(call: StubCall) -> None:
        await call.start()
        asked = await call.expect("chat.start")
        turn_id = asked["request_id"]
        assert asked["prompt"] == "what time is it?"
        await call.send("turn.started", turn_id, text=asked["prompt"], source="text")
        await call.send("caption", turn_id, speaker="agent", text="Ten past four.", start_ms=0, end_ms=700, final=True)
        await call.send_audio(turn_id, speechlike(700))
        await call.send("voice.audio.done", turn_id, audio_ms=700)
        while (await call.expect("voice.played"))["audio_ms"] < 700:
            pass
        await call.send("chat.complete", turn_id, text="Ten past four.")
        done.set()

    stub = VoiceStub(script)
    async with stub_page(stub) as page:
        await page.fill("#prompt", "what time is it?")
        await page.press("#prompt", "Enter")
        await finished(done)
        assert await page.inner_text(".entry.user .words") == "what time is it?"
        assert await page.inner_text(".entry.agent .words") == "Ten past four."
        assert await page.locator(".entry").count() == 2
        await page.wait_for_selector("#state[data-activity=ready]", state="attached")
    assert stub.calls[0].frames == []


async def test_a_refused_microphone_is_explained_and_typing_still_works() -> None:
    async def script(call: StubCall) -> None:
        await call.start()
        await call.expect("chat.start")

    stub = VoiceStub(script)
    async with stub_page(stub) as page:
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
        await page.locator(".entry.user", has_text="then in writing").wait_for()
        await page.wait_for_selector("#state[data-activity=thinking]", state="attached")


async def test_faults_are_told_in_words_and_stay_until_dismissed(tmp_path: Path) -> None:
    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("degraded", **{"from": "whisper", "to": "captions only", "reason": "Speech-to-text is busy."})
        await call.send("audio.quality", issue="clipping", message="It is too loud.", measures={"clipping": 0.2})
        await call.send("error", code="provider.timeout", message="The model was slow.", retryable=True)

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.locator(".notice.error").wait_for()
        notices = await page.locator("#notices").inner_text()
        for sentence in ("Using captions only instead of whisper", "Speech-to-text is busy.", "It is too loud."):
            assert sentence in notices
        assert await page.locator("[role=alert]").inner_text() == (
            "Something went wrong. The model was slow. You can try again. (provider.timeout)"
        )
        for _ in range(3):
            await page.locator(".notice button", has_text="Dismiss").first.click()
        assert await page.locator(".notice").count() == 0


async def test_an_answer_that_a_content_filter_refuses_is_taken_back(tmp_path: Path) -> None:
    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="hi", source="text")
        await call.send("chat.token", "t-1", text="A knife is")
        await call.send("content.filtered", "t-1", stage="completion", categories=[{"name": "violence"}])
        await call.send("chat.token", "t-1", text=" I can't help with that.")
        await call.send("chat.complete", "t-1", text="I can't help with that.", interrupted=False)

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.locator(".entry.agent .meta", has_text="refused by a content filter").wait_for()
        words = page.locator(".entry.agent .words")
        await words.filter(has_text="I can't help with that.").wait_for()
        assert "knife" not in await words.inner_text()


async def test_the_waterfall_shows_limits_and_says_what_was_done_about_what_was_late(tmp_path: Path) -> None:
    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="hi", source="speech")
        agent = {"stage": "agent", "start_ms": 0.0, "duration_ms": 1_600.0, "target_ms": 300, "deadline_ms": 800}
        total = {"stage": "total", "start_ms": 0.0, "duration_ms": 1_600.0, "target_ms": 1_000, "deadline_ms": 3_000}
        late = {"stage": "agent", "action": "filler", "limit_ms": 800, "after_ms": 804}
        await call.send("turn.latency", "t-1", stages=[agent, total], breaches=[late])
        await call.send("chat.complete", "t-1", text="Hello.", interrupted=False, usage=None)

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        told = page.locator(".breaches li")
        await told.wait_for()
        assert (
            await told.inner_text()
            == "First phrase written: 804 ms, more than 800 ms; the agent said that it is thinking."
        )
        limits = page.locator(".limit")
        assert await limits.count() == 1, "that of the total lies beyond the axis"
        track, mark = await page.locator(".track").first.bounding_box(), await limits.bounding_box()
        assert track is not None
        assert mark is not None
        assert (mark["x"] + 1 - track["x"]) / track["width"] == pytest.approx(0.5, abs=0.02)
        assert "aimed at 300 ms" in await page.locator(".waterfall tbody tr").first.inner_text()


async def test_the_waterfall_is_a_table_and_the_turns_usage_stands_below_it(tmp_path: Path) -> None:
    async def script(call: StubCall) -> None:
        await call.start()
        await call.send("turn.started", "t-1", text="hi", source="speech")
        stages = [
            {"stage": "endpoint", "start_ms": 0.0, "duration_ms": 210.4, "provider": None},
            {"stage": "stt", "start_ms": 100.0, "duration_ms": 130.0, "provider": "whisper"},
            {"stage": "total", "start_ms": 0.0, "duration_ms": 420.8, "provider": None},
        ]
        await call.send("turn.latency", "t-1", stages=stages)
        usage = {"in_tokens": 31, "out_tokens": 12, "tool_calls": 0, "audio_in_s": 2.44, "audio_out_s": 3.0}
        await call.send("chat.complete", "t-1", text="Hello.", interrupted=False, usage=usage)

    async with stub_page(VoiceStub(script), tone_wav(tmp_path)) as page:
        await page.click("#talk")
        await page.locator(".usage").wait_for()
        rows = await page.locator(".waterfall tbody tr").all_inner_texts()
        assert [row.split()[-1] for row in rows] == ["210", "130", "421"]
        assert "whisper" in rows[1]
        assert (
            await page.inner_text(".usage")
        ).split() == "Heard you 2.4 s Spoke 3.0 s Tokens in 31 Tokens out 12".split()
        widths = await page.locator(".bar").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
        assert widths[0] == pytest.approx(widths[2] / 2, rel=0.02)
        assert "answered after 421 ms" in await page.inner_text(".entry.agent .meta")
        assert "whisper-tiny.en" in await page.inner_text("#session")
