"""Why a frame cannot be taken, in one sentence a client's author can act on.

Pure functions from a faulty frame (or what a validator says of it) to a ``WireError``. The sentence names the field
and the rule, never the client's data. Driven by ``server.wire.voice_json``.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec
from pydantic import ValidationError

from server.contracts.errors import ErrorCode
from server.contracts.voice import CLIENT_MESSAGES, type_of
from server.wire.errors import WireError

_TYPES = frozenset(type_of(model) for model in CLIENT_MESSAGES)
_NOT_JSON: Final = "The frame is not valid JSON (UTF-8, no NaN or Infinity, not nested too deeply)."


def too_large(size: int, limit: int) -> WireError:
    """A frame beyond its limit. Fatal: whoever sends it does not know the contract, and reading it costs."""
    message = f"The frame has {size} bytes; at most {limit} are accepted."
    return WireError(ErrorCode.REQUEST_TOO_LARGE, message, fatal=True)


def no_voice(kind: str) -> WireError:
    """A voice message on the chat socket."""
    return _invalid(f"{kind} belongs on /v1/voice/ws; this socket carries text only.", "type")


def explain(frame: str) -> WireError:
    """Why a text frame is no message at all: not JSON, no object, no known ``type``, or a malformed chunk."""
    try:
        value: Any = msgspec.json.decode(frame)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return _invalid(_NOT_JSON)
    if not isinstance(value, dict):
        return _invalid("The frame is JSON but not an object.")
    message = cast("dict[str, Any]", value)
    kind = message.get("type")
    if kind is None:
        return _invalid('The message has no "type".', "type")
    if not isinstance(kind, str) or kind not in _TYPES:
        return _invalid('The message\'s "type" is not one a client may send.', "type")
    if "bytes_base64" not in message:
        return _invalid(f"{kind}: bytes_base64: Field required.", "bytes_base64")
    return _invalid(f"{kind}: bytes_base64: Input should be audio in standard base64.", "bytes_base64")


def invalid_message(kind: str, error: ValidationError) -> WireError:
    """What a model says of a message of type ``kind``."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = faults[0]
    if first["type"] == "json_invalid":  # nested more deeply than this parser goes
        return _invalid(_NOT_JSON)
    field = ".".join(str(part) for part in first["loc"]) or None
    rule = first["msg"].removeprefix("Value error, ").rstrip(".")
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    where = f"{kind}: {field}" if field else kind
    return _invalid(f"{where}: {rule}{more}.", field)


def _invalid(message: str, field: str | None = None) -> WireError:
    return WireError(ErrorCode.REQUEST_INVALID, message, field=field)
