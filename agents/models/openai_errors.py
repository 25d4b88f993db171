"""What the OpenAI SDK raises, as ``agents.errors``.

One total function. A provider's own words may quote the key or the prompt, so they are logged for the operator and
never put into the message, which reaches clients. Driven by ``agents.models.openai_compatible``.
"""

from __future__ import annotations

import logging
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, cast

from agents.errors import ModelError, ModelRateLimited, ModelRejected, ModelTimeout, ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai import APIConnectionError, APIStatusError

log = logging.getLogger(__name__)

MAX_RETRY_AFTER_S: Final = 3_600.0

_REJECTIONS: Final[Mapping[int, str]] = {
    400: "The language model's provider refused the request as invalid.",
    401: "The language model's provider refused the key.",
    402: "The account at the language model's provider is out of funds.",
    403: "The key does not allow this use of the language model.",
    404: "The language model does not exist at this provider.",
    413: "The conversation is too large for the language model.",
    422: "The language model's provider refused the request as invalid.",
}


def to_model_error(error: Exception, provider: str) -> ModelError:
    """The error to raise instead of ``error``, whatever it is."""
    import openai  # noqa: PLC0415 - slow to import; loaded by whoever made the client

    match error:
        case ModelError():
            return error
        case openai.APITimeoutError() | TimeoutError():
            return ModelTimeout("The language model did not answer in time.", provider=provider)
        case openai.APIStatusError():
            return _from_status(error, provider)
        case openai.APIError() if _field(error.body, "code") == "rate_limit_exceeded":  # inside a running stream
            return ModelRateLimited("The language model's provider refuses more for now.", provider=provider)
        case openai.APIConnectionError():
            return ModelUnavailable("The language model cannot be reached.", provider=provider)
        case _:
            log.warning("unexpected answer from the language model", extra={"provider": provider}, exc_info=error)
            return ModelUnavailable("The language model sent something unreadable.", provider=provider)


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


def _from_status(error: APIStatusError, provider: str) -> ModelError:
    status = error.status_code
    code = _field(error.body, "code")
    log.warning(
        "language model request failed",
        extra={"provider": provider, "status": status, "provider_code": code, "provider_request_id": error.request_id},
    )
    if status == 429 and code != "insufficient_quota":
        wait_s = _retry_after_s(error.response.headers)
        message = "The language model's provider refuses more requests for now."
        return ModelRateLimited(message, provider=provider, retry_after_s=wait_s)
    if status == 429:
        return ModelRejected(_REJECTIONS[402], provider=provider)
    if status in {408, 504}:
        return ModelTimeout("The language model did not answer in time.", provider=provider)
    if code == "content_filter":
        return ModelRejected("The provider's content filter refused the request.", provider=provider)
    if 400 <= status < 500:
        return ModelRejected(_REJECTIONS.get(status, _REJECTIONS[400]), provider=provider)
    return ModelUnavailable("The language model's provider failed.", provider=provider)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` in seconds or as a date relative to the answer's own ``Date`` (RFC 9110 section 10.2.3)."""
    seconds = _number(headers.get("retry-after-ms"), 0.001)
    if seconds is None:
        seconds = _number(headers.get("retry-after"), 1.0)
    if seconds is None:
        try:
            until = parsedate_to_datetime(headers["retry-after"])
            seconds = (until - parsedate_to_datetime(headers["date"])).total_seconds()
        except (KeyError, ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _number(text: str | None, scale: float) -> float | None:
    try:
        value = float(text or "") * scale
    except ValueError:
        return None
    return value if value == value else None  # noqa: PLR0124 - not a number


def _field(body: object, name: str) -> str | None:
    """A string field of an error body; Azure and some proxies nest it under ``error``."""
    if not isinstance(body, dict):
        return None
    fields = cast("dict[str, Any]", body)
    value = fields.get(name)
    if value is None and isinstance(fields.get("error"), dict):
        value = fields["error"].get(name)
    return value if isinstance(value, str) else None
