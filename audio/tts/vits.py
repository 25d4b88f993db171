"""A VITS voice on onnxruntime: phoneme ids in, audio out, the first of it before the rest is made.

Owns the native sessions. VITS (Kim et al. 2021, arXiv:2106.06103) is a text side that makes latent frames, and a
convolutional decoder (HiFi-GAN, Kong et al. 2020, arXiv:2010.05646) that turns them into samples at most of the cost.
The exported graph is cut at the decoder's input and the frames are decoded piece by piece, each with the neighbouring
frames its convolutions see: the pieces join to exactly what decoding the whole gives. A model that cannot be cut speaks
whole phrases. Every call blocks: driven by ``audio.tts.piper`` on the inference pool. Knows no text and no event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from audio.tts.onnx_split import OnnxModel, SplitError

_log = logging.getLogger(__name__)

Waveform = npt.NDArray[np.float32]
"""Mono audio, shape ``(n,)``, float32 in -1..1."""

Latents = npt.NDArray[np.float32]
"""Latent frames, shape ``(1, channels, frames)``."""

_DECODER_WEIGHT: Final = "dec.conv_pre.weight"
_DECODER_NODE: Final = "/dec/conv_pre/Conv"
_FIRST_FRAMES: Final = 16
_LATER_FRAMES: Final = (32, 96, 128)
_CONTEXTS_FRAMES: Final = (10, 16, 24, 32)
_PROBE_FRAMES: Final = 3 * max(_CONTEXTS_FRAMES)
_EXACT: Final = 1e-4


class VoiceModelError(Exception):
    """The file is not a VITS voice that onnxruntime can run here."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence for the model: ids of its phonemes, the VITS knobs, and the speaker where there are several."""

    ids: tuple[int, ...]
    noise_scale: float
    length_scale: float
    noise_w_scale: float
    speaker: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames ``start`` up to ``end`` of an utterance."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Sound:
    """Audio of one piece, and whether the utterance ends with it."""

    waveform: Waveform
    is_last: bool


def pieces(frames: int) -> Iterator[Piece]:
    """How ``frames`` are decoded: a short piece for an early start, longer ones after, never a sliver at the end."""
    sizes = iter((_FIRST_FRAMES, *_LATER_FRAMES))
    start = size = 0
    while start < frames:
        size = next(sizes, size)
        end = start + size if frames - start > size * 8 // 5 else frames
        yield Piece(start, end)
        start = end


class VitsModel(Protocol):
    """A loaded voice. Thread-safe; each call runs on one thread."""

    def speak(self, utterance: Utterance) -> Iterator[Sound]:
        """The utterance's audio in pieces. Each ``next`` blocks for the work of one piece; leaving early is free."""
        ...


class StreamingVits:
    """A voice in two parts. ``samples_per_frame`` is the decoder's hop, ``context_frames`` how far it sees."""

    def __init__(self, encoder: Any, decoder: Any, probe: Utterance) -> None:
        """Measure hop and context on ``probe``. Raises SplitError where pieces would differ from the whole."""
        self._encoder = encoder
        self._decoder = decoder
        self._latents_input: str = encoder.get_outputs()[0].name
        self._decoder_inputs = {value.name for value in decoder.get_inputs()}
        latents = self.latents(probe)
        latents = np.concatenate([latents] * (_PROBE_FRAMES // latents.shape[2] + 1), axis=2)[:, :, :_PROBE_FRAMES]
        whole = self._decode(latents, probe.speaker)
        self.samples_per_frame, rest = divmod(len(whole), _PROBE_FRAMES)
        if rest:
            raise SplitError(f"{len(whole)} samples from {_PROBE_FRAMES} frames")
        self.context_frames = self._measure_context(latents, whole, probe.speaker)

    def speak(self, utterance: Utterance) -> Iterator[Sound]:
        latents = self.latents(utterance)
        frames = latents.shape[2]
        for piece in pieces(frames):
            yield Sound(self.decode(latents, piece, utterance.speaker), is_last=piece.end == frames)

    def latents(self, utterance: Utterance) -> Latents:
        """All latent frames of an utterance. Draws its noise anew each time."""
        return self._encoder.run([self._latents_input], _feeds(self._encoder, utterance))[0]

    def decode(self, latents: Latents, piece: Piece, speaker: int = 0) -> Waveform:
        """The audio of ``piece``, as it sounds within the whole."""
        return self._decode_with(self.context_frames, latents, piece, speaker)

    def _decode_with(self, context: int, latents: Latents, piece: Piece, speaker: int) -> Waveform:
        start = max(0, piece.start - context)
        waveform = self._decode(latents[:, :, start : piece.end + context], speaker)
        hop = self.samples_per_frame
        return waveform[(piece.start - start) * hop : (piece.end - start) * hop]

    def _decode(self, latents: Latents, speaker: int) -> Waveform:
        feeds: dict[str, npt.NDArray[Any]] = {self._latents_input: np.ascontiguousarray(latents)}
        if "sid" in self._decoder_inputs:
            feeds["sid"] = np.array([speaker], dtype=np.int64)
        return self._decoder.run(None, feeds)[0].ravel()

    def _measure_context(self, latents: Latents, whole: Waveform, speaker: int) -> int:
        middle = Piece(_PROBE_FRAMES // 2 - 8, _PROBE_FRAMES // 2 + 8)
        hop = self.samples_per_frame
        expected = whole[middle.start * hop : middle.end * hop]
        for context in _CONTEXTS_FRAMES:
            piece = self._decode_with(context, latents, middle, speaker)
            if float(np.max(np.abs(piece - expected))) < _EXACT:
                return context
        raise SplitError("the decoder sees too far for decoding in pieces")


class WholeVits:
    """A voice in one part: the audio comes when all of it is made."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def speak(self, utterance: Utterance) -> Iterator[Sound]:
        yield Sound(self._session.run(None, _feeds(self._session, utterance))[0].ravel(), is_last=True)


def load_vits(path: Path, probe: Utterance) -> VitsModel:
    """Load a voice and run it once on ``probe`` (0.3-1 s).

    Raises:
        VoiceModelError: onnxruntime is not installed, or the file is not a VITS voice.
    """
    try:
        import onnxruntime  # noqa: PLC0415 an optional extra, and slow to import
    except ImportError as error:
        raise VoiceModelError("onnxruntime is missing: pip install 'convergio-voice[embedded]'") from error
    try:
        try:
            return _load_streaming(onnxruntime, path, probe)
        except (SplitError, OSError) as error:  # OSError: no room for scratch files, or no file at all
            _log.warning("voice speaks whole phrases", extra={"voice": path.name, "reason": str(error)})
            model = WholeVits(_open(onnxruntime, path))
            next(model.speak(probe))
            return model
    except Exception as error:  # onnxruntime's errors share no base class
        raise VoiceModelError(f"{path} does not work as a voice: {type(error).__name__}: {error}") from error


def _load_streaming(runtime: Any, path: Path, probe: Utterance) -> StreamingVits:
    with TemporaryDirectory(prefix="convergio-voice-") as scratch:
        # By way of files: a session made from bytes keeps them (60 MB) for as long as it lives.
        parts = Path(scratch) / "encoder.onnx", Path(scratch) / "decoder.onnx"
        for part, data in zip(parts, _split(path.read_bytes()), strict=True):
            part.write_bytes(data)
        encoder, decoder = (_open(runtime, part) for part in parts)
    return StreamingVits(encoder, decoder, probe)


def _split(data: bytes) -> tuple[bytes, bytes]:
    model = OnnxModel(data)
    entries = [
        node.inputs[0] for node in model.nodes if node.name == _DECODER_NODE or _DECODER_WEIGHT in node.inputs[1:2]
    ]
    if len(entries) != 1:
        raise SplitError("the decoder's input is not found")
    return model.split(entries[0])


def _open(runtime: Any, model: Path) -> Any:
    """A session that computes on its caller's thread alone: the pool decides how many run at once."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # every phrase has another length: patterns only pile up
    options.log_severity_level = 3
    return runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _feeds(session: Any, utterance: Utterance) -> dict[str, npt.NDArray[Any]]:
    scales: Sequence[float] = (utterance.noise_scale, utterance.length_scale, utterance.noise_w_scale)
    feeds: dict[str, npt.NDArray[Any]] = {
        "input": np.array([utterance.ids], dtype=np.int64),
        "input_lengths": np.array([len(utterance.ids)], dtype=np.int64),
        "scales": np.array(scales, dtype=np.float32),
    }
    if any(value.name == "sid" for value in session.get_inputs()):
        feeds["sid"] = np.array([utterance.speaker], dtype=np.int64)
    return feeds
