"""Silero VAD v6 on onnxruntime: the probability that 32 ms of audio hold speech.

``SileroModel`` owns the weights and the one onnxruntime session of the process; ``SileroStream`` owns one
conversation's recurrent state. About 60 us for a frame alone and 40 us for one of four, in place. Driven by
``audio.vad.chain``.

The weights are the variant that ships with faster-whisper: inputs ``input (frames, 576)``, ``h`` and ``c``
``(1, 1, 128)``; outputs ``speech_probs (frames,)``, ``hn``, ``cn``. A frame is 64 samples of context and 512 new.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from audio.assets import packaged_file
from audio.errors import EngineUnavailable
from audio.formats import Samples

NEW_SAMPLES: Final = 512
CONTEXT_SAMPLES: Final = 64
_WINDOW_SAMPLES: Final = NEW_SAMPLES + CONTEXT_SAMPLES
MOST_FRAMES: Final = 6
"""How many frames one call takes."""
_INT16_SCALE: Final = np.float32(1 / 32_768)


class SileroStream:
    """One stream's memory. Not thread-safe.

    Two bindings write each other's recurrent input, so state is handed on without a copy; binding saves 11 % of
    a call over passing arrays.
    """

    def __init__(self, session: Any) -> None:
        self._run = session.run_with_iobinding
        self._io_binding = session.io_binding
        self._input = np.zeros((MOST_FRAMES, _WINDOW_SAMPLES), dtype=np.float32)
        self._state = np.zeros((2, 2, 1, 1, 128), dtype=np.float32)
        self._found = np.zeros(MOST_FRAMES, dtype=np.float32)
        self._bindings: dict[tuple[int, int], Any] = {}
        self._turn = 0

    def _binding(self, frames: int) -> Any:
        """What the next call of so many frames reads and writes; made when it is first needed."""
        key = frames, self._turn
        if (made := self._bindings.get(key)) is not None:
            return made
        self._bindings[key] = binding = self._io_binding()
        (h, c), (h_next, c_next) = self._state[self._turn], self._state[1 - self._turn]
        for name, array in (("input", self._input[:frames]), ("h", h), ("c", c)):
            binding.bind_cpu_input(name, array)
        for name, array in (("speech_probs", self._found[:frames]), ("hn", h_next), ("cn", c_next)):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def probabilities(self, samples: Samples) -> list[float]:
        """Speech probability of each 512 samples behind the first 64, which are their context.

        ``64 + 512 * n`` consecutive samples, ``n`` from 1 to ``MOST_FRAMES``; consecutive calls advance by ``512 * n``.
        Frames together cost less than one by one, and come to the same.
        """
        frames = (len(samples) - CONTEXT_SAMPLES) // NEW_SAMPLES
        windows: Samples = np.ndarray((frames, _WINDOW_SAMPLES), np.int16, samples, 0, (2 * NEW_SAMPLES, 2))
        np.multiply(windows, _INT16_SCALE, out=self._input[:frames])
        self._run(self._binding(frames))
        self._turn ^= 1
        return self._found[:frames].tolist()

    def reset(self) -> None:
        """Forget the past."""
        self._state.fill(0)
        self._turn = 0


class SileroModel:
    """The weights, loaded once and shared by every stream (running an onnxruntime session is thread-safe)."""

    def __init__(self, path: Path | None = None) -> None:
        """Load from ``path`` or from the installed package.

        Raises:
            EngineUnavailable: onnxruntime or the weights are missing, or cannot be loaded.
        """
        model = path or packaged_file("faster_whisper", "assets/silero_vad_v6.onnx", stage="vad", provider="silero")
        try:
            import onnxruntime  # noqa: PLC0415 - optional, and slow to import
        except ImportError as error:
            raise EngineUnavailable("onnxruntime is not installed", stage="vad", provider="silero") from error
        ort: Any = onnxruntime
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EngineUnavailable(f"cannot load {model}: {error}", stage="vad", provider="silero") from error

    def stream(self) -> SileroStream:
        """The memory for one conversation."""
        return SileroStream(self._session)
