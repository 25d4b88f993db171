"""The parts of the Azure adapters that need no SDK: words, time, markup, errors, secrets."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio.azure.credentials import KeyCredential, Secret, TokenCredential
from audio.azure.errors import from_cancellation
from audio.azure.settings import AzurePlace, AzureVoice
from audio.errors import EngineError, EngineKeyRejected, EngineOverloaded, EngineTimeout, EngineUnavailable
from audio.stt.azure_events import from_detailed
from audio.stt.azure_utterance import AzureUtterance, Piece
from audio.stt.port import Transcript, TranscriptKind
from audio.stt.sent_audio import SentAudio
from audio.tts.azure_ssml import rate_percent, ssml, voice_name

SPEAK = "{http://www.w3.org/2001/10/synthesis}"
LOUD = np.full(320, 6_000, np.int16)
QUIET = np.full(320, 20, np.int16)


# --- time ---


def test_offsets_of_the_service_are_mapped_around_what_was_not_sent_and_what_we_added() -> None:
    sent = SentAudio()
    sent.add(1_000, 320)
    sent.add(1_320, 320)
    sent.add_silence(500)
    sent.add(9_000, 320)
    assert sent.sent == 640 + 500 + 320
    assert [sent.to_session(at) for at in (0, 100, 640, 700, 1_140)] == [1_000, 1_100, 1_640, 1_640, 1_640]
    assert sent.start_to_session(1_140) == 9_000, "what begins at a border belongs to what follows"
    assert sent.to_session(1_240) == 9_100
    assert sent.to_session(99_999) == 9_320


# --- words ---


class Said:
    def __init__(self, *, partials: bool = True) -> None:
        self.transcripts: list[Transcript] = []
        self.utterance = AzureUtterance(1, 0, self.transcripts.append, partials=partials)

    def push(self, loud: int, quiet: int = 0) -> int:
        for samples in [LOUD] * loud + [QUIET] * quiet:
            self.utterance.push(self.utterance.end_sample, samples)
        return self.utterance.end_sample

    @property
    def told(self) -> list[tuple[TranscriptKind, str]]:
        return [(each.kind, each.text) for each in self.transcripts]


def test_a_flush_is_answered_at_once_with_a_hypothesis_that_reaches_the_end_and_corrected_later() -> None:
    said = Said()
    end = said.push(50)
    said.utterance.hypothesis(Piece("go forward", 0, end - 1_000))
    said.utterance.flush(end)
    assert said.utterance.answer_if_covered()
    said.utterance.release()
    said.utterance.final(Piece("Go forward.", 0, end, 0.9))
    assert said.told == [
        (TranscriptKind.PARTIAL, "Go forward"),
        (TranscriptKind.FLUSHED, "Go forward"),
        (TranscriptKind.CORRECTED, "Go forward."),
    ]
    assert said.transcripts[-1].confidence == 0.9
    assert not said.utterance.may_be_corrected


def test_an_answer_the_service_cuts_into_phrases_is_corrected_once_all_of_it_is_final() -> None:
    said = Said(partials=False)
    end = said.push(100)
    said.utterance.hypothesis(Piece("turn on the light and go", 0, end))
    said.utterance.flush(end)
    assert said.utterance.answer_if_covered()
    said.utterance.release()
    said.utterance.final(Piece("Turn off the light.", 0, 16_000))
    assert said.utterance.may_be_corrected, "the rest is still to come"
    said.utterance.final(Piece("And go.", 17_000, end))
    assert said.told[1:] == [(TranscriptKind.CORRECTED, "Turn off the light. And go.")]
    assert not said.utterance.may_be_corrected


def test_a_final_that_leaves_out_the_silence_at_the_end_of_a_hypothesis_corrects_it() -> None:
    said = Said(partials=False)
    speech = said.push(50)
    end = said.push(0, quiet=20)
    said.utterance.hypothesis(Piece("turn on the light", 0, end))
    said.utterance.flush(end)
    assert said.utterance.answer_if_covered()
    said.utterance.release()
    said.utterance.final(Piece("Turn off the light.", 0, speech))
    assert said.told[1:] == [(TranscriptKind.CORRECTED, "Turn off the light.")]


def test_a_hypothesis_that_leaves_loud_audio_unheard_does_not_answer() -> None:
    said = Said(partials=False)
    end = said.push(100)
    said.utterance.hypothesis(Piece("go", 0, 8_000))
    said.utterance.flush(end)
    assert not said.utterance.answer_if_covered()
    said.utterance.hypothesis(Piece("go forward", 0, end - 320))
    assert said.told == [(TranscriptKind.FLUSHED, "Go forward")]


def test_silence_behind_the_last_word_needs_no_words() -> None:
    said = Said(partials=False)
    end = said.push(50, quiet=60)
    said.utterance.flush(end)
    said.utterance.final(Piece("Go forward.", 0, 16_000))
    assert said.told == [(TranscriptKind.FLUSHED, "Go forward.")]


def test_phrases_of_the_service_are_joined_and_only_what_no_final_covers_is_heard_again() -> None:
    said = Said(partials=False)
    said.push(100)
    said.utterance.final(Piece("Go forward.", 0, 16_000))
    assert said.utterance.unconfirmed_samples == 16_000
    assert said.utterance.unconfirmed()[0][0] == 16_000
    said.utterance.flush(32_000)
    said.utterance.hypothesis(Piece("ten meters", 17_000, 31_000))
    assert said.told == [(TranscriptKind.FLUSHED, "Go forward. ten meters")]


def test_speech_that_goes_on_takes_back_that_it_was_answered() -> None:
    said = Said(partials=False)
    end = said.push(50)
    said.utterance.hypothesis(Piece("go", 0, end))
    said.utterance.flush(end)
    said.utterance.answer_if_covered()
    said.push(50)
    said.utterance.final(Piece("Go.", 0, end))
    assert [kind for kind, _ in said.told] == [TranscriptKind.FLUSHED], "no correction of what is no longer all"
    said.utterance.flush(32_000)
    said.utterance.final(Piece("Forward.", end, 32_000))
    assert said.told[-1] == (TranscriptKind.FLUSHED, "Go. Forward.")


def test_silence_behind_an_answer_leaves_it_to_be_corrected() -> None:
    said = Said(partials=False)
    end = said.push(50)
    said.utterance.hypothesis(Piece("go back", 0, end))
    said.utterance.flush(end)
    said.utterance.answer_if_covered()
    said.push(0, quiet=40)
    said.utterance.final(Piece("Go forward.", 0, end))
    assert said.told == [(TranscriptKind.FLUSHED, "Go back"), (TranscriptKind.CORRECTED, "Go forward.")]
    said.utterance.flush(said.utterance.end_sample)
    assert said.utterance.answer_if_covered(), "asked again, it answers again"


def test_an_empty_final_answers_that_nothing_was_heard() -> None:
    said = Said()
    end = said.push(20)
    said.utterance.flush(end)
    said.utterance.final(Piece("", 0, end))
    assert said.told == [(TranscriptKind.FLUSHED, "")]


def test_details_of_a_final_are_read_and_a_strange_body_is_not_minded() -> None:
    body = '{"NBest":[{"Confidence":0.8,"Words":[{"Word":"go","Offset":6250,"Duration":12500,"Confidence":0.7}]}]}'
    said = from_detailed("Go.", 0, 100, body)
    assert said.confidence == 0.8
    assert [(word.text, word.start, word.end, word.confidence) for word in said.words] == [("go", 10, 30, 0.7)]
    for strange in ("", "no json", "[]", '{"NBest":[]}', '{"NBest":[{"Words":[{}]}]}'):
        assert from_detailed("Go.", 0, 100, strange).text == "Go."


# --- markup ---


@given(st.text(max_size=80))
def test_text_never_becomes_markup(text: str) -> None:
    document = ET.fromstring(ssml(text, "en-US", "en-US-AvaNeural", 1.25, AzureVoice(style="cheerful")))
    assert [element.tag.rpartition("}")[2] for element in document.iter()] == [
        "speak", "voice", "silence", "express-as", "prosody"
    ]  # fmt: skip


def test_what_a_voice_is_asked_for_is_in_the_document() -> None:
    voice = AzureVoice(
        style="sad", style_degree=1.5, pitch="+5%", lexicon_uri="https://x/l.xml?a&b", sentence_pause_ms=200
    )
    document = ssml("A & B", "de-DE", "de-DE-KatjaNeural", 0.5, voice)
    root = ET.fromstring(document)
    assert root.attrib["{http://www.w3.org/XML/1998/namespace}lang"] == "de-DE"
    assert root[0].attrib == {"name": "de-DE-KatjaNeural"}
    assert root.find(f".//{SPEAK}lexicon") is not None
    assert 'rate="-50%"' in document
    assert 'styledegree="1.5"' in document
    assert 'type="Sentenceboundary-exact" value="200ms"' in document
    assert "A &amp; B" in document


def test_names_and_locales_that_are_none_are_replaced() -> None:
    assert voice_name('x"/><break', "en-US-AvaNeural") == "en-US-AvaNeural"
    assert voice_name("de-DE-KatjaNeural", "en-US-AvaNeural") == "de-DE-KatjaNeural"
    assert voice_name("en-US-Ava:DragonHDLatestNeural", "x") == "en-US-Ava:DragonHDLatestNeural"
    assert 'xml:lang="en-US"' in ssml("Hi", '"><x', "en-US-AvaNeural", 1.0, AzureVoice())
    assert [rate_percent(rate) for rate in (0.1, 1.25, 9)] == ["-50%", "+25%", "+100%"]


# --- errors, places, secrets ---


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AuthenticationFailure", EngineKeyRejected),
        ("BadRequest", EngineUnavailable),
        ("TooManyRequests", EngineOverloaded),
        ("ServiceUnavailable", EngineOverloaded),
        ("ServiceTimeout", EngineTimeout),
        ("ConnectionFailure", EngineError),
        ("SomethingNew", EngineError),
    ],
)
def test_every_cancellation_has_an_error_of_ours(code: str, expected: type[EngineError]) -> None:
    error = from_cancellation(code, "it said so", "tts")
    assert type(error) is expected
    assert (error.stage, error.provider) == ("tts", "azure")


def test_a_pause_that_was_asked_for_is_seen_and_secrets_are_not() -> None:
    error = from_cancellation("TooManyRequests", "Retry-After: 17. Authorization: Bearer abc.def", "stt")
    assert error.retry_after_s == 17
    assert "abc.def" not in str(error)


def test_a_place_is_named_once() -> None:
    for wrong in ({}, {"region": "x", "host": "ws://y"}, {"host": "y"}):
        with pytest.raises(ValueError, match=r"name exactly one|not the address"):
            AzurePlace(**wrong)
    assert AzurePlace(host="ws://h:1").text_stream_endpoint == "ws://h:1/cognitiveservices/websocket/v2"
    assert AzurePlace(region="westeurope").text_stream_endpoint == (
        "wss://westeurope.tts.speech.microsoft.com/cognitiveservices/websocket/v2"
    )
    whole = AzurePlace(endpoint="wss://x/tts/cognitiveservices/websocket/v1")
    assert whole.text_stream_endpoint == "wss://x/tts/cognitiveservices/websocket/v2"


def test_a_secret_is_never_shown() -> None:
    key = KeyCredential("s3cret")
    assert "s3cret" not in repr(key) + repr(key.secret())
    assert key.fingerprint != KeyCredential("other").fingerprint


def test_tokens_are_renewed_before_they_expire_and_outlive_a_failed_renewal() -> None:
    now_s, issued, fails = 0.0, 0, False

    def provide() -> Secret:
        nonlocal issued
        if fails:
            raise OSError("Bearer s3cret")
        issued += 1
        return Secret("token", f"t{issued}", now_s + 600)

    credential = TokenCredential(provide, "tests", now_s=lambda: now_s)
    assert [credential.secret().value for _ in range(2)] == ["t1", "t1"]
    now_s = 481.0
    assert credential.secret().value == "t2"
    fails, now_s = True, 1_000.0
    assert credential.secret().value == "t2", "still good for a while"
    now_s = 1_200.0
    with pytest.raises(EngineUnavailable) as refusal:
        credential.secret()
    assert "s3cret" not in str(refusal.value)
