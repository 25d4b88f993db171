"""SSML to what is to be said, in order. Pure.

Reads with expat directly: no document type, so no entities and nothing external. What Azure knows and this voice cannot
do (styles, emphasis, background audio) is accepted and passed over; its words are spoken.
Source: Azure's SSML reference and W3C SSML 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final
from xml.parsers import expat

MAX_CHARACTERS: Final = 65_536
MAX_DEPTH: Final = 40
MAX_BREAK_MS: Final = 20_000
_BREAKS_MS: Final = {"none": 0, "x-weak": 250, "weak": 500, "medium": 750, "strong": 1_000, "x-strong": 1_250}
_RATES: Final = {"x-slow": 0.5, "slow": 0.64, "medium": 1.0, "default": 1.0, "fast": 1.55, "x-fast": 2.0}
_VOLUMES: Final = {
    "silent": 0.0,
    "x-soft": 0.2,
    "soft": 0.4,
    "medium": 0.6,
    "loud": 0.8,
    "x-loud": 1.0,
    "default": 1.0,
}
_TIME: Final = re.compile(r"([0-9]*\.?[0-9]+)(ms|s)")
_SPACE: Final = re.compile(r"\s+")
_ENDS_PHRASE: Final = frozenset({"p", "s", "voice", "speak"})
_UNSPOKEN: Final = frozenset({"lexicon", "metadata", "meta", "backgroundaudio", "desc"})


class SsmlError(ValueError):
    """Not SSML that can be spoken; Azure closes with 1007 and such a reason."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How words are said. ``rate`` and ``volume`` are factors, ``pitch`` is as written."""

    voice: str = ""
    locale: str = "en-US"
    rate: float = 1.0
    volume: float = 1.0
    pitch: str = "default"
    style: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """Words in one manner."""

    text: str
    manner: Manner = field(default_factory=Manner)


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence."""

    ms: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A bookmark."""

    name: str


Part = Say | Pause | Mark


def read_ssml(document: str) -> tuple[Part, ...]:
    """The parts of a document, in order. Raises SsmlError."""
    if len(document) > MAX_CHARACTERS:
        raise SsmlError(f"SSML of more than {MAX_CHARACTERS} characters")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(document.encode(), True)
    except expat.ExpatError as error:
        raise SsmlError(f"Ssml is not well-formed: {error}") from error
    if not reader.spoken:
        raise SsmlError("Ssml should contain at least one <speak> element with a <voice>")
    return tuple(_tidied(reader.parts))


def _refuse_doctype(*_: Any) -> None:
    raise SsmlError("SSML has no document type")


class _Reader:
    """Handlers of one document."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.spoken = False
        self._manners = [Manner()]
        self._silenced = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2].lower()
        if len(self._manners) == 1 and name != "speak":
            raise SsmlError("Ssml should begin with <speak>")
        if len(self._manners) > MAX_DEPTH:
            raise SsmlError(f"SSML nested more than {MAX_DEPTH} deep")
        self._manners.append(_manner(self._manners[-1], name, attributes))
        if name == "voice":
            self.spoken = True
            if not attributes.get("name"):
                raise SsmlError("Attribute 'name' is missing in element 'voice'")
        elif name == "break":
            self.parts.append(Pause(_break_ms(attributes)))
        elif name == "bookmark":
            self.parts.append(Mark(attributes.get("mark", "")))
        elif name == "sub":
            self.text(attributes.get("alias", ""))
        if name in _UNSPOKEN or name == "sub":
            self._silenced += 1

    def end(self, tag: str) -> None:
        name = tag.rpartition(":")[2].lower()
        self._manners.pop()
        if name in _UNSPOKEN or name == "sub":
            self._silenced -= 1
        if name in _ENDS_PHRASE:
            self.parts.append(Pause(0))

    def text(self, text: str) -> None:
        if not text or self._silenced:
            return
        last = self.parts[-1] if self.parts else None
        if isinstance(last, Say) and last.manner == self._manners[-1]:
            self.parts[-1] = Say(last.text + text, last.manner)
        else:
            self.parts.append(Say(text, self._manners[-1]))


def _tidied(parts: list[Part]) -> Iterator[Part]:
    """White space as it is heard; parts that hold nothing fall away."""
    for part in parts:
        match part:
            case Say(text, manner):
                words = _SPACE.sub(" ", text).strip()
                if words:
                    yield Say(words, manner)
            case Pause(ms):
                if ms:
                    yield part
            case Mark():
                yield part


def _manner(outer: Manner, name: str, attributes: dict[str, str]) -> Manner:
    match name:
        case "speak" | "lang":
            return replace(outer, locale=attributes.get("xml:lang") or outer.locale)
        case "voice":
            return replace(outer, voice=attributes.get("name") or outer.voice)
        case "express-as":
            return replace(outer, style=attributes.get("style") or outer.style)
        case "prosody":
            return prosody(outer, attributes)
        case _:
            return outer


def prosody(outer: Manner, attributes: dict[str, str]) -> Manner:
    """What ``<prosody>`` changes; also the ``rate``, ``volume`` and ``pitch`` of text streaming."""
    rate = _factor(attributes.get("rate", ""), _RATES)
    volume = _volume(attributes.get("volume", ""), outer.volume)
    return replace(
        outer,
        rate=outer.rate if rate is None else min(max(outer.rate * rate, 0.5), 2.0),
        volume=min(max(volume, 0.0), 1.0),
        pitch=attributes.get("pitch") or outer.pitch,
    )


def _factor(value: str, names: dict[str, float]) -> float | None:
    """``fast``, ``1.2`` (a factor) or ``+20%``; ``None`` where nothing is said."""
    value = value.strip().lower()
    if value in names:
        return names[value]
    try:
        if value.endswith("%"):
            return 1.0 + float(value[:-1]) / 100.0
        return float(value) if value else None
    except ValueError as error:
        raise SsmlError(f"Invalid prosody value '{value}'") from error


def _volume(value: str, outer: float) -> float:
    """``soft``, ``40`` (of 100), ``+10`` or ``-20%``."""
    value = value.strip().lower()
    if not value:
        return outer
    if value in _VOLUMES:
        return _VOLUMES[value]
    try:
        if value.endswith("%"):
            return outer * (1.0 + float(value[:-1]) / 100.0)
        number = float(value.removesuffix("db")) / 100.0
    except ValueError as error:
        raise SsmlError(f"Invalid prosody volume '{value}'") from error
    return outer + number if value[0] in "+-" else number


def _break_ms(attributes: dict[str, str]) -> int:
    time = attributes.get("time")
    if time is None:
        return _BREAKS_MS.get(attributes.get("strength", "medium"), _BREAKS_MS["medium"])
    match = _TIME.fullmatch(time.strip())
    if match is None:
        raise SsmlError(f"Invalid break time '{time}'")
    return min(round(float(match[1]) * (1 if match[2] == "ms" else 1_000)), MAX_BREAK_MS)
