"""The smart-turn v3 end-of-turn model (Pipecat, BSD-2) on onnxruntime: does this audio sound finished?

Owns the weights and how audio is laid out for them; runs in the inference pool it is given. Only the weights of the
package that carries them are used, none of its code. Built by the composition root, asked by ``agents.core``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np

from audio.assets import packaged_file
from audio.errors import EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable
from audio.features import FRAME_SAMPLES, FloatArray, LogMel, to_float
from audio.formats import HEARING_RATE_HZ, Samples
from audio.inference import InferencePool, PoolBusy, PoolClosed, Priority

PROVIDER: Final = "smart-turn"

_WINDOW_SAMPLES: Final = 8 * HEARING_RATE_HZ
_FRAMES: Final = _WINDOW_SAMPLES // FRAME_SAMPLES
_VARIANCE_FLOOR: Final = 1e-7
_LOAD_LIMIT_S: Final = 30.0
_ANSWER_LIMIT_S: Final = 2.0
"""A hint that comes later than any pause is long is of no use."""


class SmartTurn:
    """See ``EndOfTurnModel``. About 60 ms a question; complete turns are recognised better than cut ones."""

    def __init__(self, pool: InferencePool, path: Path | None = None) -> None:
        """Find the model; loading waits for ``warm_up``.

        Args:
            pool: runs; owned by the caller.
            path: an ONNX file of smart-turn v3, or ``None`` for the packaged one.

        Raises:
            EngineUnavailable: there is no such file.
        """
        self._pool = pool
        self._path = path or packaged_file(
            "pipecat", "audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx", stage="endpoint", provider=PROVIDER
        )
        self._log_mel = LogMel()
        self._session: Any = None
        self._loading = anyio.Lock()

    async def warm_up(self) -> None:
        """See ``EndOfTurnModel.warm_up``."""
        async with self._loading:
            if self._session is not None:
                return
            try:
                self._session = await self._pool.run(self._load, priority=Priority.NORMAL, limit_s=_LOAD_LIMIT_S)
            except (PoolBusy, PoolClosed, TimeoutError) as error:
                raise EngineUnavailable(f"not loaded: {error}", stage="endpoint", provider=PROVIDER) from error

    async def probability(self, samples: Samples) -> float:
        """See ``EndOfTurnModel.probability``."""
        if self._session is None:
            await self.warm_up()
        session, latest = self._session, samples[-_WINDOW_SAMPLES:].copy()
        try:
            return await self._pool.run(
                lambda: self._infer(session, latest), priority=Priority.NORMAL, limit_s=_ANSWER_LIMIT_S
            )
        except TimeoutError as error:
            raise EngineTimeout(str(error), stage="endpoint", provider=PROVIDER) from error
        except (PoolBusy, PoolClosed) as error:
            raise EngineOverloaded(str(error), stage="endpoint", provider=PROVIDER) from error
        except Exception as error:
            raise EngineError(f"inference failed: {error}", stage="endpoint", provider=PROVIDER) from error

    def features(self, samples: Samples) -> FloatArray:
        """What the model hears: the last 8 s, silence before them, to zero mean and unit variance, as log-mel.

        Shape ``(80, 800)``. Blocking, about 2 ms.
        """
        window = np.zeros(_WINDOW_SAMPLES, dtype=np.float32)
        latest = to_float(samples[-_WINDOW_SAMPLES:])
        window[_WINDOW_SAMPLES - len(latest) :] = latest
        window -= window.mean()
        window /= np.sqrt(window.var() + _VARIANCE_FLOOR)
        return self._log_mel(window, _FRAMES)

    def _infer(self, session: Any, samples: Samples) -> float:
        (probabilities,) = session.run(None, {"input_features": self.features(samples)[np.newaxis]})
        return float(probabilities[0, 0])

    def _load(self) -> Any:
        try:
            import onnxruntime  # noqa: PLC0415 - optional, and slow to import

            ort: Any = onnxruntime
            options = ort.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 4
            session = ort.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
            self._infer(session, np.zeros(HEARING_RATE_HZ, dtype=np.int16))
        except Exception as error:
            raise EngineUnavailable(
                f"cannot load {self._path}: {error}", stage="endpoint", provider=PROVIDER
            ) from error
        return session
