"""What a provider's headers say about its limits: how long it wants to be left alone, and whether anything is left.

Pure. Reads ``Retry-After`` (RFC 9110 section 10.2.3), ``retry-after-ms`` and ``x-ratelimit-*`` as OpenAI ("Rate limits
in headers") and Azure OpenAI send them. Azure counts its windows in whole seconds, OpenAI writes durations ("6m0s").
Driven by ``agents.models.openai_compatible`` and ``openai_errors``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_S: Final = 3_600.0

_UNITS_S: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_COUNTED: Final = ("requests", "tokens")


def refused_for_s(headers: Mapping[str, str]) -> float | None:
    """How long a refused request should wait; ``None`` where the provider does not say."""
    told = _retry_after_s(headers)
    return spent_for_s(headers) if told is None else told


def spent_for_s(headers: Mapping[str, str]) -> float | None:
    """How long there will be nothing left, where nothing is; ``None`` where something is, or nobody knows."""
    resets: list[float] = []
    for what in _COUNTED:
        # Deployments without a limit say -1, or nothing at all.
        if _number(headers.get(f"x-ratelimit-remaining-{what}"), 1.0) == 0:
            reset_s = _duration_s(headers.get(f"x-ratelimit-reset-{what}"))
            resets += [] if reset_s is None else [reset_s]
    if resets:
        return _within(max(resets))
    return None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    seconds = _number(headers.get("retry-after-ms"), 0.001)
    if seconds is None:
        seconds = _number(headers.get("retry-after"), 1.0)
    if seconds is None:
        try:
            until = parsedate_to_datetime(headers["retry-after"])
            seconds = (until - parsedate_to_datetime(headers["date"])).total_seconds()
        except (KeyError, ValueError, TypeError):
            return None
    return _within(seconds)


def _duration_s(text: str | None) -> float | None:
    seconds = _number(text, 1.0)
    if seconds is not None or text is None:
        return seconds
    if not _DURATION.fullmatch(text.strip()):
        return None
    return sum(float(amount) * _UNITS_S[unit] for amount, unit in _PART.findall(text))


def _number(text: str | None, scale: float) -> float | None:
    try:
        value = float(text or "") * scale
    except ValueError:
        return None
    return value if value == value else None  # noqa: PLR0124 - not a number


def _within(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
