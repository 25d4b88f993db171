"""What a client asks of recognition: the query of its upgrade request, overruled by its ``speech.context``. Pure.

The SDK says everything in the query when it is given a ``host``, and everything in ``speech.context`` when it is given
an ``endpoint`` without a path; phrase lists and continuation always come in the context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

Mode = Literal["conversation", "interactive", "dictation"]

DEFAULT_LOCALE: Final = "en-US"
SEGMENTATION_MS: Final = 500
"""Silence that ends a phrase where the client does not say."""
SEGMENTATION_RANGE_MS: Final = (100, 5_000)
INITIAL_SILENCE_MS: Final[dict[Mode, int]] = {"conversation": 15_000, "dictation": 15_000, "interactive": 5_000}
_MODES: Final[tuple[Mode, ...]] = ("conversation", "interactive", "dictation")


@dataclass(frozen=True, slots=True)
class SttRequest:
    """One turn's wishes. Times in milliseconds of audio; ``offset_ticks`` in 100 ns.

    ``candidates`` are the locales to identify the language among (none: ``locale`` is known); ``previous_tag`` and
    ``offset_ticks`` say where a turn continues an earlier one, possibly of a connection that was lost.
    """

    locale: str = DEFAULT_LOCALE
    mode: Mode = "conversation"
    detailed: bool = False
    word_timings: bool = False
    word_confidence: bool = False
    phrases: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    segmentation_ms: int = SEGMENTATION_MS
    initial_silence_ms: int = INITIAL_SILENCE_MS["conversation"]
    stable_threshold: int = 1
    profanity: str = "masked"
    previous_tag: str | None = None
    offset_ticks: int = 0


def read_request(path: str, query: Mapping[str, str], context: Mapping[str, Any]) -> SttRequest:
    """The wishes of one turn. What is missing or of the wrong kind counts as not said."""
    detection = _object(context, "phraseDetection")
    output = _object(context, "phraseOutput")
    mode = _mode(path, str(detection.get("mode", "")))
    options = _strings(_object(output, "detailed").get("options"))
    timings = "WordTimings" in options or query.get("wordLevelTimestamps") == "true"
    confidence = "WordConfidence" in options or query.get("wordLevelConfidence") == "true"
    asked_format = str(output.get("format") or query.get("format") or "simple")
    by_mode = _object(detection, mode.upper()) or _object(detection, mode)
    candidates = _strings(_object(context, "languageId").get("languages")) or _split(query.get("lidEnabled", ""))
    continued = _object(context, "continuation")
    stream = _object(_object(_object(continued, "audio"), "streams"), "1")
    return SttRequest(
        locale=str(detection.get("language") or query.get("language") or DEFAULT_LOCALE),
        mode=mode,
        detailed=asked_format.lower() == "detailed",
        word_timings=timings,
        word_confidence=confidence,
        phrases=tuple(_phrases(context.get("dgi"))),
        candidates=candidates,
        segmentation_ms=_segmentation_ms(_object(by_mode, "segmentation"), query),
        initial_silence_ms=_number(
            detection.get("initialSilenceTimeout"), query.get("initialSilenceTimeoutMs"), INITIAL_SILENCE_MS[mode]
        ),
        stable_threshold=max(
            1,
            _number(
                _object(output, "interimResults").get("stableThreshold"), query.get("stableIntermediateThreshold"), 1
            ),
        ),
        profanity=str(_object(detection, "enrichment").get("profanity") or query.get("profanity") or "masked").lower(),
        previous_tag=_text(continued.get("previousServiceTag")),
        offset_ticks=_number(stream.get("offset"), None, 0),
    )


def _mode(path: str, said: str) -> Mode:
    for mode in _MODES:
        if said.lower() == mode or (not said and f"/{mode}/" in path):
            return mode
    return "conversation"


def _segmentation_ms(segmentation: Mapping[str, Any], query: Mapping[str, str]) -> int:
    least, most = SEGMENTATION_RANGE_MS
    asked = _number(
        segmentation.get("segmentationSilenceTimeoutMs"), query.get("segmentationSilenceTimeoutMs"), SEGMENTATION_MS
    )
    return min(max(asked, least), most)


def _phrases(groups: Any) -> Iterator[str]:
    """The texts of ``dgi``: ``{Groups: [{Type, Items: [{Text}]}]}``."""
    for group in _objects(cast("dict[str, Any]", groups).get("Groups") if isinstance(groups, dict) else None):
        for item in _objects(group.get("Items")):
            text = _text(item.get("Text"))
            if text:
                yield text


def _object(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value: Any = parent.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _strings(value: Any) -> tuple[str, ...]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if "-" in part)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(first: Any, second: Any, default: int) -> int:
    """The first of two that is a whole number; numbers may come as strings."""
    for value in (first, second):
        try:
            return int(value)
        except (TypeError, ValueError):
            continue
    return default
