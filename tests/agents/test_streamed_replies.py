"""Replies spoken while they are written, in virtual time, through everything but the wire and the models."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from conversation import Script, Talk
from test_dialogues import Body, ask, ledger, play, stages_ms

from agents.core.item_ids import reply_item_id
from agents.core.language import rules_for
from agents.events import (
    AudioOut,
    AudioOutEnded,
    Caption,
    Degraded,
    Interrupted,
    ReplyText,
    Resumed,
    TurnCompleted,
    TurnStarted,
    VisemesOut,
)
from agents.models.port import ContentFilter
from agents.models.scripted import ScriptedReply
from audio.errors import EngineError
from audio.fallback import Guarded
from audio.formats import samples_to_ms
from audio.tts.fallback import FallbackTextToSpeech
from audio.tts.port import SpeechRequest, TextToSpeech, TtsProfile
from audio.tts.scripted import ScriptedTextToSpeech, ScriptedVoice
from audio.tts.scripted_stream import ScriptedTextStreaming

WORD_MS = 50
REPLY = (
    "I can tell you about the weather in Paris, which is lovely this time of the year. "
    "The trains are running well, too. Would you like to hear about the museums and the gardens there?"
)


async def dribble(number: int) -> None:
    """Twenty words a second."""
    await asyncio.sleep(WORD_MS / 1_000)


def streamed(reply: str = REPLY, **more: object) -> Script:
    more.setdefault("voice", ScriptedTextStreaming())
    return Script(hears=("Tell me.", "Okay, yeah."), replies=(reply,), before_event=dribble, **more)  # type: ignore[arg-type]


def writes(script: Script) -> list[str]:
    assert isinstance(script.voice, ScriptedTextStreaming)
    return ["".join(stream.writes) for stream in script.voice.opened]


def said_in(text: str, heard_ms: int) -> str:
    """What the scripted voice, which takes 60 ms for every character, has said after ``heard_ms``."""
    ends = [at for at in range(1, len(text) + 1) if at == len(text) or text[at] == " "]
    return text[: max((end for end in ends if end * 60 <= heard_ms), default=0)]


async def hummed_over(talk: Talk) -> None:
    """A sound that is no word, over the reply."""
    await talk.speak(1_000)
    await talk.until(AudioOut)
    await talk.quiet(1_500)
    await talk.speak(400)
    await talk.until(TurnCompleted)


def cancelled_after(ms: int) -> Body:
    """The reply is heard for so long."""

    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(AudioOut)
        await talk.quiet(ms)
        talk.session.cancel()
        await talk.until(TurnCompleted)

    return body


def test_speech_begins_before_the_sentence_is_complete() -> None:
    reply = "Certainly the weather in Paris tomorrow afternoon should once more be remarkably lovely."
    talk = play(ask, streamed(reply))
    assert talk.when_ms(AudioOut) < talk.when_ms(ReplyText, len(talk.all(ReplyText)) - 1)
    by_phrases = play(ask, streamed(reply, voice=ScriptedTextToSpeech()))
    assert stages_ms(by_phrases)["agent"] - stages_ms(talk)["agent"] > 4 * WORD_MS


def test_all_is_said_once_and_captioned_in_readable_lines() -> None:
    script = streamed()
    talk = play(ask, script)
    assert writes(script) == [REPLY]
    captions = [caption for caption in talk.all(Caption) if caption.speaker == "agent"]
    assert "".join(caption.text for caption in captions) == REPLY
    assert all(len(caption.text) > 12 for caption in captions)
    times = [(caption.start_ms, caption.end_ms) for caption in captions]
    assert all(start < end for start, end in times)
    assert times == sorted(times)
    ended = talk.one(AudioOutEnded)
    assert times[-1][1] <= ended.audio_ms == talk.audio_ms(talk.one(TurnStarted).turn_id)
    assert ended.audio_ms == pytest.approx(60 * len(REPLY), abs=20)
    assert talk.one(TurnCompleted).text == REPLY


def test_what_is_read_otherwise_than_written_goes_to_the_voice_as_it_is_said() -> None:
    script = streamed("It costs $5.50 today,\nand **all of it** is 10 km from Dr. Smith's house at 10 a.m.")
    play(ask, script)
    assert writes(script) == [
        "It costs 5 dollars and 50 cents today, and all of it is 10 kilometers from Doctor Smith's house at 10 A M."
    ]


@pytest.mark.parametrize("after_ms", [300, 900, 2_000, 3_900, 7_100])
def test_what_was_heard_before_an_interruption_is_told_in_the_replys_own_words(after_ms: int) -> None:
    async def body(talk: Talk) -> None:
        await cancelled_after(after_ms)(talk)
        talk.session.prompt("Go on.")
        await talk.until(TurnStarted, count=2)
        await talk.quiet(400)

    talk = play(body, streamed())
    interrupted = talk.all(Interrupted)[0]
    assert interrupted.heard_text == said_in(REPLY, interrupted.heard_ms)
    remembered = [message.text for message in talk.model.requests[-1].messages if message.role == "assistant"]
    assert remembered[0].startswith(interrupted.heard_text.rstrip("."))


def test_numbers_that_are_spoken_otherwise_are_heard_as_they_were_written() -> None:
    after_ms = 60 * len("That costs 5 dollars and 50 cents al")
    talk = play(cancelled_after(after_ms), streamed("That costs $5.50 altogether, and nothing more than that."))
    assert talk.one(Interrupted).heard_text == "That costs $5.50"


def test_a_reply_that_was_only_held_goes_on() -> None:
    talk = play(hummed_over, streamed())
    resumed = talk.one(Resumed)
    held = talk.one(Interrupted)
    assert said_in(REPLY, resumed.from_ms) == held.heard_text, "it goes on with the word that was cut"
    again = [event for at, event in talk.events if isinstance(event, AudioOut) and at >= talk.when_ms(Resumed) / 1_000]
    total_ms = sum(samples_to_ms(len(event.samples), event.sample_rate_hz) for event in again)
    assert total_ms == pytest.approx(talk.one(AudioOutEnded).audio_ms - resumed.from_ms, abs=2)
    assert talk.one(TurnCompleted).text == REPLY


def test_a_client_may_say_that_it_played_less() -> None:
    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(TurnCompleted)
        turn = talk.one(TurnStarted).turn_id
        left = talk.session.truncate(reply_item_id(turn), 2_000)
        assert left is not None
        assert left.text == said_in(REPLY, 2_000)

    play(body, streamed())


def test_a_model_that_pauses_is_no_dead_voice() -> None:
    async def pauses(number: int) -> None:
        await asyncio.sleep(7.5 if number == 3 else WORD_MS / 1_000)

    script = streamed()
    script.before_event = pauses
    talk = play(ask, script)
    assert not talk.all(Degraded)
    assert writes(script) == [REPLY]


@pytest.mark.parametrize("silent_from", [0, 12])
def test_a_voice_that_falls_silent_loses_the_voice_and_not_the_answer(silent_from: int) -> None:
    async def hangs(_: SpeechRequest, number: int) -> None:
        if number >= silent_from:
            await asyncio.sleep(1_000)

    talk = play(ask, streamed(voice=ScriptedTextStreaming(before_chunk=hangs)))
    assert (talk.one(Degraded).from_, talk.one(Degraded).to) == ("speech", "text")
    assert "".join(event.text for event in talk.all(ReplyText)) == REPLY
    assert talk.one(TurnCompleted).text == REPLY


def test_a_voice_that_breaks_is_lost_at_once() -> None:
    async def breaks(_: SpeechRequest, number: int) -> None:
        if number >= 4:
            raise EngineError("the line is dead", stage="tts", provider="scripted")

    talk = play(ask, streamed(voice=ScriptedTextStreaming(before_chunk=breaks)))
    assert talk.when_ms(Degraded) - talk.when_ms(AudioOut) < 1_000
    assert talk.one(TurnCompleted).text == REPLY


def test_another_voice_says_the_rest_of_a_reply_and_no_word_twice() -> None:
    async def breaks(_: SpeechRequest, number: int) -> None:
        if number >= 14:
            raise EngineError("the line is dead", stage="tts", provider="scripted")

    voices: list[TextToSpeech] = [
        ScriptedTextStreaming(before_chunk=breaks),
        ScriptedTextToSpeech(ScriptedVoice(16_000)),
    ]
    talk = play(ask, streamed(voice=FallbackTextToSpeech([Guarded(voice) for voice in voices])))
    assert [event.from_ for event in talk.all(Degraded)] == ["tts scripted"]
    captions = [caption.text for caption in talk.all(Caption) if caption.speaker == "agent"]
    assert "".join(captions) == REPLY
    # A word that was cut is said again, whole; spaces between phrases take no time.
    assert talk.one(AudioOutEnded).audio_ms == pytest.approx(60 * len(REPLY), abs=900)


def test_who_spoke_how_much_of_a_reply_that_ran_ahead_of_its_voice_is_told() -> None:
    class Other(ScriptedTextToSpeech):
        @property
        def profile(self) -> TtsProfile:
            return replace(super().profile, provider="other")

    async def breaks(_: SpeechRequest, number: int) -> None:
        if number >= 14:
            raise EngineError("the line is dead", stage="tts", provider="scripted")

    voices: list[TextToSpeech] = [ScriptedTextStreaming(before_chunk=breaks), Other()]
    script = streamed(voice=FallbackTextToSpeech([Guarded(voice) for voice in voices]))
    script.before_event = None
    first, second = ledger(play(ask, script))[0].shares[1:]
    assert (first.provider, second.provider) == ("scripted", "other")
    assert first.tts_characters + second.tts_characters == len(REPLY)
    assert first.tts_characters == pytest.approx(first.audio_ms_synthesized / 60, abs=1)


def test_a_filler_is_said_before_the_stream_and_is_nobodys_words() -> None:
    async def late(number: int) -> None:
        await asyncio.sleep(3.0 if number == 0 else WORD_MS / 1_000)

    async def body(talk: Talk) -> None:
        await talk.speak(1_000)
        await talk.until(TurnCompleted)

    script = streamed("It is ten past four.")
    script.before_event = late
    script.policy = type(script.policy)(min_wait_ms=300, wait_ms=300, max_wait_ms=900, filler_after_ms=1_000)
    talk = play(body, script)
    assert writes(script) == ["It is ten past four."]
    assert talk.one(AudioOutEnded).audio_ms > 60 * len("It is ten past four.") + 300
    captions = [caption for caption in talk.all(Caption) if caption.speaker == "agent"]
    assert captions[-1].text == "It is ten past four."
    assert captions[-1].start_ms >= captions[-2].end_ms if len(captions) > 1 else captions[-1].start_ms > 300


def test_a_greeting_is_a_phrase() -> None:
    async def body(talk: Talk) -> None:
        await talk.until(TurnCompleted)

    script = streamed(greeting="Hello, how may I help you?")
    talk = play(body, script)
    assert talk.one(AudioOutEnded).audio_ms > 0
    assert writes(script) == []


def test_a_very_long_reply_takes_more_than_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.core.streamed_reply.MOST_CHARACTERS", 300)
    reply = "This is one of many sentences that say nothing much. " * 12
    script = streamed(reply, voice=ScriptedTextStreaming(ScriptedVoice(ms_per_character=10)))
    script.before_event = None
    talk = play(ask, script)
    assert len(writes(script)) == 2
    assert "".join(writes(script)).split() == reply.split()
    assert "".join(caption.text for caption in talk.all(Caption) if caption.speaker == "agent") == reply


def test_text_runs_ahead_of_a_listener_by_a_bounded_stretch() -> None:
    script = streamed("This is one of many sentences that say nothing much. " * 200)
    script.before_event = None
    play(cancelled_after(1_000), script)
    assert len(writes(script)[0]) < 1_200


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_words_are_found_at_every_rate(rate_hz: int) -> None:
    talk = play(cancelled_after(2_000), streamed(options={"output_rate_hz": rate_hz}))
    interrupted = talk.one(Interrupted)
    assert interrupted.heard_text == said_in(REPLY, interrupted.heard_ms)
    assert {event.sample_rate_hz for event in talk.all(AudioOut)} == {rate_hz}


# --- mouth shapes ---


def shapes_of(talk: Talk) -> list[tuple[int, int]]:
    return [(shape.viseme_id, shape.at_ms) for event in talk.all(VisemesOut) for shape in event.visemes]


def expected_shapes(text: str) -> list[tuple[int, int]]:
    """The scripted voice's: one for each word, at its beginning."""
    return [(len(match[0]) % 22, match.start() * 60) for match in re.finditer(r"\S+", text)]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_mouth_shapes_are_told_with_their_audio_at_every_rate(rate_hz: int) -> None:
    talk = play(ask, streamed(options={"output_rate_hz": rate_hz}))
    found, wanted = shapes_of(talk), expected_shapes(REPLY)
    assert [shape for shape, _ in found] == [shape for shape, _ in wanted]
    assert [at for _, at in found] == pytest.approx([at for _, at in wanted], abs=1)
    told_ms = 0
    for _, event in talk.events:
        if isinstance(event, AudioOut):
            told_ms = event.start_ms + samples_to_ms(len(event.samples), event.sample_rate_hz)
        if isinstance(event, VisemesOut):
            assert all(told_ms - 1 <= shape.at_ms <= told_ms + 60 for shape in event.visemes)


def test_mouth_shapes_come_again_with_audio_that_comes_again() -> None:
    talk = play(hummed_over, streamed())
    resumed = talk.one(Resumed)
    resumed_s = talk.when_ms(Resumed) / 1_000
    again = [
        (shape.viseme_id, shape.at_ms)
        for at, event in talk.events
        if isinstance(event, VisemesOut) and at >= resumed_s
        for shape in event.visemes
    ]
    assert again == [(shape, at) for shape, at in expected_shapes(REPLY) if at >= resumed.from_ms]


def test_no_mouth_shape_is_told_of_audio_that_is_never_sent() -> None:
    talk = play(cancelled_after(1_500), streamed())
    assert max(at for _, at in shapes_of(talk)) <= talk.one(Interrupted).heard_ms + 400


def test_a_reply_that_is_refused_midway_says_no_more_than_it_has_and_then_the_refusal() -> None:
    script = streamed()
    script = replace(script, replies=(ScriptedReply(REPLY, verdict=ContentFilter("completion")), "It is four."))
    talk = play(ask, script)
    end = talk.one(TurnCompleted)
    assert (end.end, end.text) == ("filtered", rules_for("en").refusal)
    captions = [caption.text for caption in talk.all(Caption) if caption.speaker == "agent"]
    assert captions[-1] == end.text
    ahead_ms = 240 + 60
    written_ms = WORD_MS * len(REPLY.split())
    assert talk.one(AudioOutEnded).audio_ms < written_ms + ahead_ms + 60 * len(end.text), "what was not sent is unsaid"


class HeldStreaming(ScriptedTextStreaming):
    """One that says of itself that its streams wait for sentences."""

    @property
    def profile(self) -> TtsProfile:
        return replace(super().profile, text_held=True)


def test_a_voice_that_waits_for_sentences_is_given_the_first_phrase_as_one() -> None:
    script = streamed(voice=HeldStreaming())
    talk = play(ask, script)
    first, rest = "I can tell you about the weather in Paris, ", "which is lovely"
    assert writes(script)[0].startswith(rest)
    assert first + writes(script)[0] == REPLY
    captions = [caption for caption in talk.all(Caption) if caption.speaker == "agent"]
    assert "".join(caption.text for caption in captions) == REPLY
    assert captions[0].text == first
    assert captions[1].start_ms >= captions[0].end_ms
    by_phrases = play(ask, streamed(voice=ScriptedTextToSpeech()))
    assert stages_ms(talk)["agent"] <= stages_ms(by_phrases)["agent"], "no later than in phrases"
