from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio.errors import EngineUnavailable
from audio.formats import PcmChunk, Samples
from audio.vad.chain import GatedDetector, GateOnlyDetector, make_detector
from audio.vad.gate import FRAME_SAMPLES, FrameFeed
from audio.vad.port import EdgeKind, SpeechEdge, VadOptions, VoiceActivityDetector
from audio.vad.silero import CONTEXT_SAMPLES, MOST_FRAMES, NEW_SAMPLES, SileroModel, SileroStream

SPEECH = Path(__file__).parents[1] / "fixtures" / "speech"
SECOND = 16_000
SPOKEN = {"goforward.wav": (0.50, 2.38), "librivox_0930.wav": (0.24, 3.20), "cards_003.wav": (0.11, 1.34)}
"""Where each clip's energy says that speech begins and ends, in seconds (22 dB below its loudest twentieth).

Energy ends later than speech where a breath or a click follows it, hence the tolerance below."""


@pytest.fixture(scope="module")
def silero() -> SileroModel:
    pytest.importorskip("onnxruntime")
    return SileroModel()


def clip(name: str, snr_db: float | None = None) -> Samples:
    """A clip between two seconds of near silence, or of white noise."""
    with wave.open(str(SPEECH / name)) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16).astype(np.float64)
    level = 5.0 if snr_db is None else float(np.sqrt(np.mean(speech**2))) / 10 ** (snr_db / 20)
    padded = np.concatenate([np.zeros(2 * SECOND), speech, np.zeros(2 * SECOND)])
    noisy = padded + np.random.default_rng(7).normal(0, level, len(padded))
    return noisy.clip(-32_768, 32_767).astype(np.int16)


def hear(detector: VoiceActivityDetector, samples: Samples, lengths: list[int], start: int = 0) -> list[SpeechEdge]:
    edges: list[SpeechEdge] = []
    done = turn = 0
    while done < len(samples):
        length = lengths[turn % len(lengths)]
        edges += detector.process(PcmChunk(samples[done : done + length], start + done))
        done, turn = done + length, turn + 1
    return edges


def assert_spoken(edges: list[SpeechEdge], name: str, *, within_ms: int) -> None:
    begin, end = (2 * SECOND + int(second * SECOND) for second in SPOKEN[name])
    assert [edge.kind for edge in edges] == [EdgeKind.STARTED, EdgeKind.STOPPED] * (len(edges) // 2)
    assert abs(edges[0].sample - begin) <= within_ms * 16
    assert abs(edges[-1].sample - end) <= within_ms * 16


@pytest.mark.engines
@pytest.mark.parametrize("name", SPOKEN)
def test_human_speech_begins_and_ends_where_it_is_heard(silero: SileroModel, name: str) -> None:
    edges = hear(GatedDetector(VadOptions(), silero.stream()), clip(name), [320])
    assert_spoken(edges, name, within_ms=250)
    assert all(edge.decided_at_sample - edge.sample <= 140 * 16 for edge in edges)


@pytest.mark.engines
@pytest.mark.parametrize("snr_db", [10, 0])
@pytest.mark.parametrize("name", SPOKEN)
def test_speech_is_found_in_noise_as_loud_as_itself(silero: SileroModel, name: str, snr_db: float) -> None:
    edges = hear(GatedDetector(VadOptions(), silero.stream()), clip(name, snr_db), [320])
    assert_spoken(edges, name, within_ms=450)


@pytest.mark.engines
@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, 9_000), min_size=1, max_size=6))
def test_edges_do_not_depend_on_how_the_stream_is_cut(silero: SileroModel, lengths: list[int]) -> None:
    samples = clip("cards_003.wav")
    whole = hear(GatedDetector(VadOptions(), silero.stream()), samples, [len(samples)])
    assert whole
    assert hear(GatedDetector(VadOptions(), silero.stream()), samples, lengths) == whole


@pytest.mark.engines
def test_silero_rests_in_silence_and_wakes_for_speech(silero: SileroModel) -> None:
    class Counting(SileroStream):
        calls = 0

        def probabilities(self, samples: Samples) -> list[float]:
            found = super().probabilities(samples)
            self.calls += len(found)
            return found

    stream = Counting(silero._session)
    detector = GatedDetector(VadOptions(), stream)
    quiet = np.random.default_rng(0).normal(0, 5, 10 * SECOND).astype(np.int16)
    hear(detector, quiet, [320])
    in_silence = stream.calls
    assert in_silence < 10 * SECOND / 512 / 5
    hear(detector, clip("goforward.wav"), [320], start=len(quiet))
    assert stream.calls - in_silence > 1.9 * SECOND / 512


@pytest.mark.engines
def test_a_long_chunk_wakes_silero_once_for_all_of_its_frames(silero: SileroModel) -> None:
    class Counting(SileroStream):
        calls, frames = 0, 0

        def probabilities(self, samples: Samples) -> list[float]:
            found = super().probabilities(samples)
            self.calls, self.frames = self.calls + 1, self.frames + len(found)
            return found

    short, long = Counting(silero._session), Counting(silero._session)
    edges = hear(GatedDetector(VadOptions(), short), clip("goforward.wav"), [320])
    assert hear(GatedDetector(VadOptions(), long), clip("goforward.wav"), [4 * 512]) == edges
    assert short.calls > 0.8 * short.frames
    assert long.calls < 0.3 * long.frames


@pytest.mark.engines
@pytest.mark.parametrize("at_once", [2, 3, MOST_FRAMES])
def test_frames_come_to_the_same_together_and_one_by_one(silero: SileroModel, at_once: int) -> None:
    samples, alone, together = clip("goforward.wav"), silero.stream(), silero.stream()
    frames = (len(samples) - CONTEXT_SAMPLES) // NEW_SAMPLES // at_once * at_once
    spans = [(at * NEW_SAMPLES, CONTEXT_SAMPLES + NEW_SAMPLES) for at in range(frames)]
    wide = [(at * NEW_SAMPLES, CONTEXT_SAMPLES + at_once * NEW_SAMPLES) for at in range(0, frames, at_once)]
    single = [found for start, length in spans for found in alone.probabilities(samples[start : start + length])]
    several = [found for start, length in wide for found in together.probabilities(samples[start : start + length])]
    assert max(single) > 0.9
    assert min(single) < 0.1
    assert several == pytest.approx(single, abs=1e-4)


@pytest.mark.engines
def test_sessions_share_weights_but_not_memory(silero: SileroModel) -> None:
    samples = clip("cards_003.wav")
    alone = hear(GatedDetector(VadOptions(), silero.stream()), samples, [320])
    detector, other = (GatedDetector(VadOptions(), silero.stream()) for _ in range(2))
    together: list[SpeechEdge] = []
    noise = clip("goforward.wav", 0)
    for start in range(0, len(samples), 320):
        together += detector.process(PcmChunk(samples[start : start + 320], start))
        other.process(PcmChunk(noise[start : start + 320], start))
    assert together == alone


@pytest.mark.engines
def test_edges_count_from_the_streams_own_position_after_a_gap(silero: SileroModel) -> None:
    samples = clip("cards_003.wav")
    detector = GatedDetector(VadOptions(), silero.stream())
    first = hear(detector, samples, [320])
    detector.reset()
    later = hear(detector, samples, [320], start=100 * SECOND)
    assert [edge.sample - 100 * SECOND for edge in later] == [edge.sample for edge in first]


@pytest.mark.engines
@pytest.mark.parametrize("gap", [700, 1_500, 2_900])
def test_a_small_gap_leaves_nothing_of_what_was_foreseen(silero: SileroModel, gap: int) -> None:
    samples = clip("goforward.wav")
    at = SECOND // 2 // 320 * 320

    def edges(lengths: list[int]) -> list[SpeechEdge]:
        detector = GatedDetector(VadOptions(), silero.stream())
        return hear(detector, samples[:at], lengths) + hear(detector, samples[at:], lengths, start=at + gap)

    assert edges([3_200]) == edges([320])


@pytest.mark.engines
def test_a_reset_ends_speech_without_an_edge(silero: SileroModel) -> None:
    samples = clip("goforward.wav")
    detector = GatedDetector(VadOptions(), silero.stream())
    spoken = hear(detector, samples[: int(3.5 * SECOND)], [320])
    assert [edge.kind for edge in spoken] == [EdgeKind.STARTED]
    detector.reset()
    assert hear(detector, np.zeros(2 * SECOND, dtype=np.int16), [320], start=int(3.5 * SECOND)) == []


@pytest.mark.parametrize("name", SPOKEN)
def test_without_silero_the_gate_alone_finds_clean_speech(name: str) -> None:
    detector = make_detector(VadOptions(), None)
    assert isinstance(detector, GateOnlyDetector)
    assert_spoken(hear(detector, clip(name), [320]), name, within_ms=400)


@pytest.mark.parametrize("make", [np.zeros, np.ones])
def test_silence_of_any_level_has_no_edges(make: type[np.ndarray]) -> None:
    samples = (make(5 * SECOND) * 3).astype(np.int16)
    assert hear(GateOnlyDetector(VadOptions()), samples, [320]) == []


def test_missing_weights_are_reported_as_an_unavailable_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        SileroModel(tmp_path / "none.onnx")


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=30))
def test_frames_cut_from_chunks_of_any_length_join_to_the_stream(lengths: list[int]) -> None:
    feed = FrameFeed(1_000)
    stream = (np.arange(sum(lengths)) % 30_011).astype(np.int16)
    done, frames = 0, []
    for length in lengths:
        for frame in feed.frames(PcmChunk(stream[done : done + length], done)):
            frames.append(frame.copy())
            back = max(0, feed.position - 1_000)
            assert np.array_equal(feed.read(back, feed.position - back), stream[back : feed.position])
        done += length
    assert len(frames) == done // FRAME_SAMPLES
    assert np.array_equal(np.concatenate([*frames, stream[:0]]), stream[: len(frames) * FRAME_SAMPLES])
