"""What the OpenAI SDK raises, as ``agents.errors``.

One total function. A provider's own words may quote the key or the prompt, so they are logged for the operator and
never put into the message, which reaches clients. Driven by ``agents.models.openai_compatible``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

from agents.errors import (
    KeyRejected,
    ModelError,
    ModelRateLimited,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
    RequestRejected,
)
from agents.models.content_filter import categories_of
from agents.models.port import ContentFilter
from agents.models.rate_limits import refused_for_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai import APIConnectionError, APIError, APIStatusError

log = logging.getLogger(__name__)

_REJECTIONS: Final[Mapping[int, str]] = {
    400: "The language model's provider refused the request as invalid.",
    401: "The language model's provider refused the key.",
    402: "The account at the language model's provider is out of funds.",
    403: "The key does not allow this use of the language model.",
    404: "The language model does not exist at this provider.",
    413: "The conversation is too large for the language model.",
    422: "The language model's provider refused the request as invalid.",
}
_OF_THE_REQUEST: Final = frozenset({400, 409, 413, 415, 422})
"""Refusals that concern one request and no other."""


def to_model_error(error: Exception, provider: str) -> ModelError:
    """The error to raise instead of ``error``, whatever it is."""
    import openai  # noqa: PLC0415 - slow to import; loaded by whoever made the client

    match error:
        case ModelError():
            return error
        case openai.APITimeoutError() | TimeoutError():
            worked = not _was_never_sent(error)
            return ModelTimeout("The language model did not answer in time.", provider=provider, has_cost=worked)
        case openai.APIStatusError():
            return _from_status(error, provider)
        case openai.APIError() if _field(error.body, "code") == "rate_limit_exceeded":  # inside a running stream
            return ModelRateLimited("The language model's provider refuses more for now.", provider=provider)
        case openai.APIConnectionError():
            return ModelUnavailable("The language model cannot be reached.", provider=provider)
        case _:
            log.warning("unexpected answer from the language model", extra={"provider": provider}, exc_info=error)
            return ModelUnavailable("The language model sent something unreadable.", provider=provider)


def filter_verdict(error: APIError) -> ContentFilter | None:
    """What the provider's content filter says, if that is what is wrong: of the prompt where the request was refused,
    of the completion where a running stream was broken off (Azure OpenAI, "Content filtering")."""
    import openai  # noqa: PLC0415 - see above

    inner = _part(error.body, "innererror")
    if "content_filter" not in (_field(error.body, "code"), _field(inner, "code")) and (
        _field(inner, "code") != "ResponsibleAIPolicyViolation"
    ):
        return None
    of_prompt = isinstance(error, openai.APIStatusError)
    found = {
        category.name: category
        for place in (error.body, _part(error.body, "error"), inner)
        for name in ("content_filter_result", "content_filter_results")
        for category in categories_of(_part(place, name))
    }
    return ContentFilter("prompt" if of_prompt else "completion", tuple(found.values()))


def refused_parameter(error: APIStatusError) -> str | None:
    """The optional parameter a server says it does not take, if that is what is wrong."""
    if error.status_code != 400:
        return None
    code = _field(error.body, "code")
    parameter = _field(error.body, "param")
    return parameter if parameter and code in {"unsupported_parameter", "unsupported_value"} else None


def hung_up(error: APIConnectionError) -> bool:
    """Whether the server closed the connection without a word, as it may close one it thought idle."""
    # By name: the SDK has had HTTP clients of different packages underneath.
    return type(error.__cause__).__name__ in {"RemoteProtocolError", "ReadError", "WriteError"}


def _was_never_sent(error: Exception) -> bool:
    """Whether the time ran out before there was a connection."""
    return type(error.__cause__).__name__ in {"ConnectTimeout", "PoolTimeout"}


def _from_status(error: APIStatusError, provider: str) -> ModelError:
    status = error.status_code
    code = _field(error.body, "code")
    log.warning(
        "language model request failed",
        extra={"provider": provider, "status": status, "provider_code": code, "provider_request_id": error.request_id},
    )
    if status == 429 and code != "insufficient_quota":
        wait_s = refused_for_s(error.response.headers)
        message = "The language model's provider refuses more requests for now."
        return ModelRateLimited(message, provider=provider, retry_after_s=wait_s)
    if status == 429:
        return ModelRejected(_REJECTIONS[402], provider=provider)
    if status in {408, 504}:
        return ModelTimeout("The language model did not answer in time.", provider=provider)
    if 400 <= status < 500:
        kind = RequestRejected if status in _OF_THE_REQUEST else ModelRejected
        kind = KeyRejected if status == 401 else kind
        return kind(_REJECTIONS.get(status, _REJECTIONS[400]), provider=provider)
    wait_s = refused_for_s(error.response.headers)
    return ModelUnavailable("The language model's provider failed.", provider=provider, retry_after_s=wait_s)


def _field(body: object, name: str) -> str | None:
    """A string field of an error body."""
    value = _part(body, name)
    return value if isinstance(value, str) else None


def _part(body: object, name: str) -> object:
    """A part of an error body, ``None`` where there is none; Azure and some proxies nest it under ``error``."""
    if not isinstance(body, dict):
        return None
    fields = cast("dict[str, Any]", body)
    value = fields.get(name)
    if value is None and isinstance(fields.get("error"), dict):
        value = fields["error"].get(name)
    return value
