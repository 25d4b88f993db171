"""What a realtime client is told when something it sent cannot be taken.

RealtimeFault    a message that cannot be taken: OpenAI's ``type``, ``code``, ``message``, ``param``
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError


class RealtimeFault(Exception):
    """A message the codec cannot take.

    Attributes:
        code: OpenAI's code where it has one, such as ``unknown_parameter``.
        param: the path of the field at fault, such as ``session.audio.input.format``.
        kind: ``invalid_request_error`` unless the fault is ours.
        fatal: the connection ends; otherwise the message is dropped and the next one counts.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "invalid_value",
        param: str | None = None,
        kind: str = "invalid_request_error",
        fatal: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind
        self.fatal = fatal


_CODES: Mapping[str, str] = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "union_tag_invalid": "invalid_value",
    "union_tag_not_found": "missing_required_parameter",
    "string_too_long": "string_above_max_length",
    "too_long": "array_above_max_length",
    "greater_than_equal": "integer_below_min_value",
    "less_than_equal": "integer_above_max_value",
    "json_invalid": "invalid_json",
}
_TYPE_ERRORS = ("_type", "_parsing")


def from_validation(error: ValidationError, prefix: str = "") -> RealtimeFault:
    """The first thing a model found wrong, as OpenAI words such things."""
    fault: Any = error.errors(include_url=False, include_input=False)[0]
    kind: str = fault["type"]
    param = _param(prefix, fault["loc"])
    code = _CODES.get(kind) or ("invalid_type" if kind.endswith(_TYPE_ERRORS) else "invalid_value")
    match code:
        case "missing_required_parameter":
            message = f"Missing required parameter: '{param}'."
        case "unknown_parameter":
            message = f"Unknown parameter: '{param}'."
        case "invalid_json":
            message = "The message is not valid JSON."
        case _:
            said = str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
            message = f"Invalid '{param}': {said[0].lower()}{said[1:]}." if param else f"{said}."
    return RealtimeFault(message, code=code, param=param or None)


def _param(prefix: str, location: tuple[int | str, ...]) -> str:
    path = prefix
    for part in location:
        if isinstance(part, int):
            path = f"{path}[{part}]"
        elif not part.startswith(_BRANCH_MARKS) and part not in _BRANCHES:
            path = f"{path}.{part}" if path else part
    return path


_BRANCH_MARKS = ("function-", "tagged-", "literal[", "constrained-", "[key]")
_BRANCHES = frozenset(
    "server_vad semantic_vad none audio/pcm audio/pcmu audio/pcma int str bool "
    "azure_semantic_vad azure_semantic_vad_en azure_semantic_vad_multilingual "
    "azure-standard azure-custom azure-personal avatar-voice-sync named "
    "static_interim_response llm_interim_response message function_call function_call_output".split()
)
"""Names of a union's branches, which stand in a validator's path and in no client's message."""
