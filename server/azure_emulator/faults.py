"""What goes wrong on purpose: which fault, where, how often. Pure: decides, does nothing itself.

A connection passes named points; at each it asks the ``FaultBook`` whether something is to happen. ``at`` names the
point, ``after`` how often the point is passed unharmed on that connection first, ``times`` how often the fault strikes
in all (``None``: always), ``service`` whom.

==============  ==================================================  ==================================================
kind            what happens                                        reads
==============  ==================================================  ==================================================
refuse          the upgrade is answered with an error               ``status``, ``retry_after_s``
redirect        the upgrade is answered with 301 to itself
hang            the upgrade is never answered
close           the WebSocket is closed                             ``at``, ``code``, ``reason``
abort           the TCP connection is reset                         ``at``
stall           from here on nothing is sent any more               ``at``
drop            the message that was due is not sent                ``at``
delay           the message that was due, and all behind it, wait   ``at``, ``ms``
garbage         something unreadable is sent first                  ``at``
words           a hypothesis has these words, whatever was said     ``at``, ``text``
phrase_status   a phrase says this instead of what it was to say    ``text``
pace            audio comes at this many times its own duration     ``factor``
==============  ==================================================  ==================================================

Points: ``upgrade``, ``open`` (just accepted), ``request`` (the first message of a turn has come), ``audio_in`` (audio
has come), ``turn_start``, ``speech_start``, ``hypothesis``, ``phrase``, ``speech_end``, ``end_of_dictation``,
``response``, ``metadata``, ``audio``, ``turn_end``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, get_args

Service = Literal["stt", "tts"]
Kind = Literal[
    "refuse",
    "redirect",
    "hang",
    "close",
    "abort",
    "stall",
    "drop",
    "delay",
    "garbage",
    "words",
    "phrase_status",
    "pace",
]
Point = Literal[
    "upgrade",
    "open",
    "request",
    "audio_in",
    "turn_start",
    "speech_start",
    "hypothesis",
    "phrase",
    "speech_end",
    "end_of_dictation",
    "response",
    "metadata",
    "audio",
    "turn_end",
]

_AT_UPGRADE: Final = frozenset[Kind]({"refuse", "redirect", "hang"})
_DEFAULT_POINT: Final[dict[Kind, Point]] = {
    "refuse": "upgrade",
    "redirect": "upgrade",
    "hang": "upgrade",
    "stall": "open",
    "drop": "turn_end",
    "words": "hypothesis",
    "phrase_status": "phrase",
    "pace": "audio",
}
_READS: Final[dict[Kind, tuple[str, ...]]] = {
    "refuse": ("status",),
    "close": ("code",),
    "delay": ("ms",),
    "pace": ("factor",),
    "phrase_status": ("text",),
    "words": ("text",),
}
_NUMBERS: Final = {"status", "code", "after", "times", "retry_after_s", "ms"}


class FaultError(ValueError):
    """A fault that makes no sense; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to the client, and the point that is passed by sending it. ``audio_ms`` is how long it sounds."""

    point: Point
    frame: str | bytes
    audio_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """See the module. ``at`` is ``None`` for the kind's own point (``close``, ``abort``: the first phrase or audio)."""

    kind: Kind
    service: Service | None = None
    at: Point | None = None
    after: int = 0
    times: int | None = None
    status: int = 503
    retry_after_s: int | None = None
    code: int = 1011
    reason: str = "injected"
    ms: int = 1_000
    factor: float = 3.0
    text: str = "Error"

    def strikes(self, service: Service, point: Point, passed: int) -> bool:
        """Whether it is meant for this point of this service, passed ``passed`` times before."""
        meant = self.at or _DEFAULT_POINT.get(self.kind) or ("phrase" if service == "stt" else "audio")
        return self.service in (None, service) and meant == point and passed >= self.after


PRESETS: Final[dict[str, Fault]] = {
    "unauthorized": Fault("refuse", status=401),
    "forbidden": Fault("refuse", status=403),
    "bad-request": Fault("refuse", status=400),
    "not-found": Fault("refuse", status=404),
    "throttled": Fault("refuse", status=429, retry_after_s=1),
    "broken": Fault("refuse", status=500),
    "unavailable": Fault("refuse", status=503),
    "redirect-loop": Fault("redirect"),
    "no-upgrade": Fault("hang"),
    "silent": Fault("stall", at="open"),
    "close-normal": Fault("close", code=1000),
    "close-bad-data": Fault("close", code=1007),
    "close-policy": Fault("close", code=1008),
    "close-error": Fault("close", code=1011),
    "close-restart": Fault("close", code=1013),
    "close-throttled": Fault("close", code=4429),
    "reset": Fault("abort"),
    "no-turn-end": Fault("drop", at="turn_end"),
    "garbage": Fault("garbage", at="turn_start"),
    "gap": Fault("delay", at="audio", after=1, times=1, ms=5_000),
    "slow": Fault("delay", ms=500),
    "slow-voice": Fault("pace", factor=3.0),
    "phrase-error": Fault("phrase_status", text="Error"),
    "phrase-throttled": Fault("phrase_status", text="TooManyRequests"),
    "phrase-bad-request": Fault("phrase_status", text="BadRequest"),
}
"""Usual faults by name; what is said beside the name overrides them."""


class FaultBook:
    """The faults in force. Each strikes until its ``times`` are used up."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = list(faults)
        self.struck = 0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is left."""
        return tuple(self._faults)

    def add(self, fault: Fault) -> None:
        """Put one more in force, behind the others."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._faults.clear()

    def take(self, service: Service, point: Point, passed: int = 0) -> Fault | None:
        """The fault that strikes here, if any; its count goes down."""
        for index, fault in enumerate(self._faults):
            if not fault.strikes(service, point, passed):
                continue
            self.struck += 1
            if fault.times is not None:
                left = replace(fault, times=fault.times - 1)
                self._faults[index : index + 1] = [left] if left.times else []
            return fault
        return None


def fault_from_mapping(given: Mapping[str, Any]) -> Fault:
    """A fault as JSON says it: ``{"kind": .., ..}`` or ``{"preset": .., ..}``. Raises FaultError."""
    values = dict(given)
    preset = values.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise FaultError(f"There is no fault called {preset!r}. There are: {', '.join(PRESETS)}.")
    known = {field.name for field in fields(Fault)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise FaultError(f"A fault has no {unknown[0]!r}. It has: {', '.join(sorted(known))}.")
    if preset is None and "kind" not in values:
        raise FaultError("A fault needs a kind or a preset.")
    base = asdict(PRESETS[preset]) if preset is not None else {}
    return _checked({**base, **values})


def fault_from_text(text: str) -> Fault:
    """A fault as the command line says it: ``NAME[,field=value..]``, NAME a preset or a kind. Raises FaultError."""
    name, *pairs = (part.strip() for part in text.split(","))
    values: dict[str, Any] = {"preset" if name in PRESETS else "kind": name}
    for pair in pairs:
        field, equals, value = pair.partition("=")
        if not equals:
            raise FaultError(f"{pair!r} is not field=value.")
        values[field] = _number(field, value) if field in _NUMBERS or field == "factor" else value
    return fault_from_mapping(values)


def _checked(values: dict[str, Any]) -> Fault:
    choices = (("kind", get_args(Kind)), ("at", (*get_args(Point), None)), ("service", (*get_args(Service), None)))
    for name, allowed in choices:
        if values.get(name) not in allowed:
            names = ", ".join(str(choice) for choice in allowed if choice is not None)
            raise FaultError(f"{values.get(name)!r} is not a {name} of faults. There are: {names}.")
    for name in _NUMBERS:
        number: Any = values.get(name)
        if number is not None and (not isinstance(number, int) or isinstance(number, bool) or number < 0):
            raise FaultError(f"{name} is a whole number, not {number!r}.")
    if not isinstance(values.get("factor", 1.0), int | float):
        raise FaultError("factor is a number.")
    fault = Fault(**values)
    if fault.kind == "words" and fault.at not in (None, "hypothesis"):
        raise FaultError("words are put into hypotheses only.")
    if fault.kind in _AT_UPGRADE and fault.at not in (None, "upgrade"):
        raise FaultError(f"{fault.kind} happens at the upgrade only.")
    if fault.times == 0:
        raise FaultError("times is at least 1; leave it out for always.")
    return fault


def _number(field: str, value: str) -> float | int | None:
    if value == "always":
        return None
    try:
        return float(value) if field == "factor" else int(value)
    except ValueError as error:
        raise FaultError(f"{field} is a number, not {value!r}.") from error


def faults_as_json(book: FaultBook) -> list[dict[str, Any]]:
    """What is in force, for people and tests."""
    return [asdict(fault) for fault in book.faults]


def described(fault: Fault) -> dict[str, Any]:
    """What a fault says beside its kind: what the kind reads, and what is not as usual."""
    usual = asdict(Fault(fault.kind))
    reads = _READS.get(fault.kind, ())
    return {
        name: value
        for name, value in asdict(fault).items()
        if name != "kind" and value is not None and (name in reads or value != usual[name])
    }
