"""The end-of-turn model's word on a pause, asked within a limit. Driven by ``agents.core.session``."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from agents.core.turn_types import FlushTranscript, HintArrived
from audio.endpoint.port import EndOfTurnModel
from audio.errors import EngineError
from audio.formats import Samples

log = logging.getLogger(__name__)


async def ask_hint(
    model: EndOfTurnModel, pause: FlushTranscript, samples: Samples, limit_s: float, now_ms: Callable[[], int]
) -> HintArrived | None:
    """What the model says of ``samples``, the audio up to the pause; ``None`` where it fails or takes too long."""
    try:
        with anyio.move_on_after(limit_s):
            probability = await model.probability(samples)
            return HintArrived(pause.utterance, pause.through_ms, probability, now_ms())
    except EngineError as error:
        log.info("no end-of-turn hint", extra={"reason": str(error)})
    return None
