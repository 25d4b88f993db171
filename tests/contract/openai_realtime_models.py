"""Events of our server, held against the official OpenAI SDK's own types: strictly, where the SDK itself is lax.

The SDK parses whatever comes; its union ``RealtimeServerEvent`` still says what the service sends. ``validate`` wants
exactly that: every required field, no undeclared one, right literals, right types, at any depth.

One widening: the session of ``session.created`` and ``session.updated`` may also be what the SDK declares for the
answer of ``client_secrets``: the same object with the ``id``, ``object`` and ``expires_at`` that the service sends.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args

from contract.strict_models import PydanticModels, Walker
from openai.types.realtime import (
    ConversationItem,
    RealtimeResponse,
    RealtimeServerEvent,
    RealtimeSessionCreateRequest,
    RealtimeSessionCreateResponse,
    RealtimeTranscriptionSessionCreateRequest,
    RealtimeTranscriptionSessionCreateResponse,
)
from openai.types.realtime.client_secret_create_response import ClientSecretCreateResponse
from pydantic import BaseModel, TypeAdapter

_SESSION = (
    RealtimeSessionCreateRequest
    | RealtimeTranscriptionSessionCreateRequest
    | RealtimeSessionCreateResponse
    | RealtimeTranscriptionSessionCreateResponse
)
_MODELS = PydanticModels()
_WALKER = Walker(_MODELS)
_WITH_SESSION = ("session.created", "session.updated")


def validate(event: dict[str, Any]) -> None:
    """An event as the server emitted it (parsed JSON).

    Raises:
        AssertionError: it is not what the SDK declares; the message names each deviation with its path.
    """
    kind = event.get("type")
    model = event_models().get(kind) if isinstance(kind, str) else None
    if model is None:
        near = get_close_matches(str(kind), event_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise AssertionError(f"{kind!r} is no event type of the OpenAI Realtime protocol{hint}")
    if kind in _WITH_SESSION and isinstance(event.get("session"), dict):
        validate_session(event["session"])
        event = event | {"session": {"type": "realtime"}}
    _hold(event, model, str(kind))


def validate_item(item: dict[str, Any]) -> None:
    """A conversation item by itself."""
    _hold(item, ConversationItem, "item")


def validate_session(session: dict[str, Any]) -> None:
    """The ``session`` of ``session.created`` and ``session.updated`` by itself."""
    _hold(session, _SESSION, "session")


def validate_response(response: dict[str, Any]) -> None:
    """The ``response`` of ``response.created`` and ``response.done`` by itself."""
    _hold(response, RealtimeResponse, "response")


def validate_client_secret(body: dict[str, Any]) -> None:
    """The answer of ``POST /v1/realtime/client_secrets``."""
    _hold(body, ClientSecretCreateResponse, "client secret")


@cache
def event_models() -> dict[str, type[BaseModel]]:
    """The SDK's model of each event, by event type."""
    return {
        kind: model
        for model in get_args(get_args(RealtimeServerEvent)[0])
        for kind in get_args((_MODELS.fields(model) or {})["type"][0])
    }


def _hold(value: dict[str, Any], wanted: Any, name: str) -> None:
    found = _WALKER.deviations(value, wanted)
    assert not found, "\n  ".join([f"{name} is not what the OpenAI SDK declares:", *found])
    # What the walker passes, pydantic's strict mode must pass as well: they check each other.
    TypeAdapter[Any](wanted).validate_json(json.dumps(value), strict=True)
