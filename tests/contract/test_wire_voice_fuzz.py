"""No frame, however broken, does more to the voice codec than a ``WireError``."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.contracts.client_messages import ClientMessage
from server.contracts.examples import CLIENT_EXAMPLES
from server.contracts.voice import CLIENT_MESSAGE, CLIENT_MESSAGES, SERVER_MESSAGE, type_of
from server.wire.client_events import ClientEvent
from server.wire.errors import WireError
from server.wire.voice_json import VoiceCodec

VALID = [json.dumps(example) for example in CLIENT_EXAMPLES.values()]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from(sorted({name for model in CLIENT_MESSAGES for name in model.model_fields}))


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid message with some characters cut, doubled or replaced."""
    frame = draw(st.sampled_from(VALID))
    start = draw(st.integers(0, len(frame)))
    end = draw(st.integers(start, min(len(frame), start + 8)))
    middle = draw(st.sampled_from(["", frame[start:end] * 2]) | st.text(st.characters(), max_size=8))
    return frame[:start] + middle + frame[end:]


@st.composite
def misfilled(draw: st.DrawFn) -> str:
    """A message of a known type with fields of any kind."""
    fields = draw(st.dictionaries(field_names, json_values, max_size=6))
    fields["type"] = draw(st.sampled_from(sorted(CLIENT_EXAMPLES)))
    return json.dumps(fields)


frames = st.text(st.characters(), max_size=200) | st.binary(max_size=200) | mutated() | misfilled()


@st.composite
def codecs(draw: st.DrawFn) -> VoiceCodec:
    codec = VoiceCodec("req_1", voice=draw(st.booleans()))
    opening = draw(st.sampled_from([None, '{"type":"voice.start"}', '{"type":"voice.start","binary":true}']))
    if opening is not None:
        with contextlib.suppress(WireError):
            codec.feed(opening)
    return codec


@given(codec=codecs(), frames=st.lists(frames, min_size=1, max_size=6))
def test_whatever_arrives_is_an_event_or_a_refusal_that_can_be_told(
    codec: VoiceCodec, frames: list[str | bytes]
) -> None:
    for frame in frames:
        before = codec.settings
        try:
            event = codec.feed(frame)
        except WireError as error:
            assert codec.settings == before
            SERVER_MESSAGE.validate_json(codec.encode(error.to_event(), 1, 1))
        else:
            assert isinstance(event, ClientEvent)


def _strings(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "contentEncoding" in schema:
        return st.binary(max_size=60).map(lambda payload: base64.b64encode(payload).decode())
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: len(text) <= 35 and text.isascii())
    return st.text(min_size=schema.get("minLength", 0), max_size=60)


def _objects(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    required = {"type", *schema.get("required", ())}
    fields = {name: _values(field, definitions) for name, field in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


def _values(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema:
        case {"$ref": ref}:
            return _values(definitions[ref.rsplit("/", 1)[-1]], definitions)
        case {"anyOf": options}:
            return st.one_of([_values(option, definitions) for option in options])
        case {"const": value}:
            return st.just(value)
        case {"enum": values}:
            return st.sampled_from(values)
        case {"type": "object", "additionalProperties": {} as values, "propertyNames": {"enum": names}}:
            return st.dictionaries(st.sampled_from(names), _values(values, definitions), max_size=2)
        case {"type": "object"}:
            return _objects(schema, definitions)
        case {"type": "array"}:
            return st.lists(_values(schema["items"], definitions), min_size=schema.get("minItems", 0), max_size=2)
        case {"type": "string"}:
            return _strings(schema)
        case _:
            return _scalars(schema)


def _scalars(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    return {
        "integer": lambda: st.integers(schema["minimum"], schema["maximum"]),
        "number": lambda: st.floats(schema["minimum"], schema["maximum"]),
        "boolean": st.booleans,
        "null": st.none,
    }[schema["type"]]()


def _messages(model: type[ClientMessage]) -> st.SearchStrategy[dict[str, Any]]:
    schema = model.model_json_schema()
    return _values(schema, schema.get("$defs", {}))


def _accepted_by_the_model(message: dict[str, Any]) -> bool:
    try:
        CLIENT_MESSAGE.validate_json(json.dumps(message))
    except ValueError:
        return False  # rules between fields, which a schema does not say
    return True


@pytest.mark.parametrize("model", CLIENT_MESSAGES, ids=type_of)
@given(data=st.data())
def test_what_the_published_model_accepts_the_codec_accepts(model: type[ClientMessage], data: Any) -> None:
    message = data.draw(_messages(model))
    if not _accepted_by_the_model(message):
        return
    codec = VoiceCodec("req_1")
    if message["type"] not in {"voice.start", "session.resume"}:
        codec.feed('{"type":"voice.start"}')

    try:
        outcome = codec.feed(json.dumps(message))
    except WireError as error:
        outcome = error
    # The one rule a message cannot know by itself: an update against what already stands.
    contradicts = message["type"] == "voice.update" and "min_wait_ms" in str(outcome)
    assert isinstance(outcome, ClientEvent) or contradicts
