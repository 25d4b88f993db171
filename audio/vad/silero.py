"""Silero VAD v6 on onnxruntime: the probability that 32 ms of audio hold speech.

``SileroModel`` owns the weights and the one onnxruntime session of the process; ``SileroStream`` owns one
conversation's recurrent state. About 60 us a frame, in place, with no allocation. Driven by ``audio.vad.chain``.

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
_INT16_SCALE: Final = np.float32(1 / 32_768)


class SileroStream:
    """One stream's memory. Not thread-safe.

    Two bindings write each other's recurrent input, so state is handed on without a copy; binding saves 11 % of
    a call over passing arrays.
    """

    def __init__(self, session: Any) -> None:
        self._run = session.run_with_iobinding
        self._input = np.zeros((1, _WINDOW_SAMPLES), dtype=np.float32)
        self._window = self._input[0]
        self._state = np.zeros((2, 2, 1, 1, 128), dtype=np.float32)
        self._probability = np.zeros(1, dtype=np.float32)
        self._bindings = (self._bind(session, 0), self._bind(session, 1))
        self._turn = 0

    def _bind(self, session: Any, source: int) -> Any:
        binding = session.io_binding()
        (h, c), (h_next, c_next) = self._state[source], self._state[1 - source]
        for name, array in (("input", self._input), ("h", h), ("c", c)):
            binding.bind_cpu_input(name, array)
        for name, array in (("speech_probs", self._probability), ("hn", h_next), ("cn", c_next)):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def probability(self, window: Samples) -> float:
        """Speech probability of the last 512 of these 576 consecutive samples; consecutive calls advance by 512."""
        np.multiply(window, _INT16_SCALE, out=self._window)
        self._run(self._bindings[self._turn])
        self._turn ^= 1
        return float(self._probability[0])

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
