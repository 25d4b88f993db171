"""Server events as Hypothesis draws them, for the wire's parity tests."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from agents import events
from agents.models.port import FilteredCategory
from server.contracts.errors import ErrorCode
from server.wire.voice_messages import JsonEvent

JSON_EVENTS: tuple[type, ...] = get_args(JsonEvent)

ids = st.text(min_size=1, max_size=40)
whole = st.integers(0, 2**53 - 1)
finite = st.floats(0, 1e9)
optional_ids = st.none() | ids
# Any text at all, halves of surrogate pairs included: models stream them.
text = st.text(st.characters(), max_size=60)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | text, st.lists, max_leaves=5
)

stages = st.builds(
    events.StageLatency,
    stage=st.sampled_from(["endpoint", "stt", "agent", "tts", "egress", "total"]),
    start_ms=st.floats(-1e6, 1e6),
    duration_ms=finite,
    provider=st.none() | text,
)
usage = st.builds(events.TurnUsage, whole, whole, whole, whole, whole)

_FIELDS: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    events.SessionStarted: {"capabilities": st.dictionaries(text, text, max_size=4)},
    events.TranscriptUpdated: {"confidence": st.none() | st.floats(0, 1)},
    events.AudioQuality: {"measures": st.dictionaries(text, st.floats(), max_size=4)},
    events.VisemesOut: {"visemes": st.lists(st.builds(events.MouthShape, whole, whole), max_size=4).map(tuple)},
    events.TurnLatency: {"stages": st.lists(stages, max_size=6).map(tuple)},
    events.ContentFiltered: {"categories": st.lists(st.builds(FilteredCategory, text, st.none() | text)).map(tuple)},
    events.TurnCompleted: {"usage": usage, "error_code": st.none() | st.sampled_from([*ErrorCode, "some.bug"])},
    events.Failed: {
        "code": st.sampled_from([*(code.value for code in ErrorCode), "some.bug"]),
        "details": st.none() | st.dictionaries(text, any_json, max_size=4),
    },
}
_BY_NAME = {"turn_id": ids, "session_id": ids}
_BY_TYPE = {"int": whole, "str": text, "bool": st.booleans(), "str | None": st.none() | text}


def events_of(kind: type) -> st.SearchStrategy[Any]:
    """Any event of one type."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in kind.__dataclass_fields__.items():
        if name in _FIELDS.get(kind, {}):
            fields[name] = _FIELDS[kind][name]
        elif name == "turn_id":
            fields[name] = optional_ids if "None" in field.type else ids
        elif name in _BY_NAME:
            fields[name] = _BY_NAME[name]
        elif field.type in _BY_TYPE:
            fields[name] = _BY_TYPE[field.type]
        else:
            fields[name] = st.sampled_from(get_args(eval(field.type, vars(events))))
    return st.builds(kind, **fields)
