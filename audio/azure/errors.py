"""From the service's refusals to our errors: one total table.

Knows the SDK's names for what went wrong, not the SDK. Driven by the adapters.

======================  =================  =========================================================================
cancellation code       our error          why
======================  =================  =========================================================================
AuthenticationFailure   EngineKeyRejected  a wrong key does not mend by itself (401 and 403 alike)
Forbidden               EngineUnavailable  likewise
BadRequest              EngineUnavailable  we asked for what the service does not have (locale, voice, close 1007)
TooManyRequests         EngineOverloaded   quota (429, close 4429); the service may name a pause
ServiceUnavailable      EngineOverloaded   503
ServiceTimeout          EngineTimeout      the SDK's own limits
ConnectionFailure       EngineError        the network, or close 1008
ServiceError            EngineError        404, 500, close 1011 and 1013
RuntimeError            EngineError        the SDK itself
ServiceRedirect...      EngineError        both kinds of redirect
anything else           EngineError        what a later SDK may invent
======================  =================  =========================================================================
"""

from __future__ import annotations

import re
from typing import Final

from audio.azure.credentials import PROVIDER
from audio.errors import EngineError, EngineKeyRejected, EngineOverloaded, EngineTimeout, EngineUnavailable, Stage

_CLASSES: Final[dict[str, type[EngineError]]] = {
    "AuthenticationFailure": EngineKeyRejected,
    "Forbidden": EngineUnavailable,
    "BadRequest": EngineUnavailable,
    "TooManyRequests": EngineOverloaded,
    "ServiceUnavailable": EngineOverloaded,
    "ServiceTimeout": EngineTimeout,
    "ConnectionFailure": EngineError,
    "ServiceError": EngineError,
    "RuntimeError": EngineError,
    "ServiceRedirectTemporary": EngineError,
    "ServiceRedirectPermanent": EngineError,
    "EmbeddedModelError": EngineUnavailable,
}
_RETRY_AFTER: Final = re.compile(r"retry[- ]after[^0-9]{0,20}(\d{1,5})", re.IGNORECASE)
_MOST_DETAILS: Final = 200
_SECRETS: Final = re.compile(r"(?i)(authorization|subscription-key|bearer|token)[\s:=]+(bearer\s+)?\S+|aad#\S+")


def from_cancellation(code: str, details: str, stage: Stage) -> EngineError:
    """Our error for a cancellation: ``code`` is the SDK's name for it, ``details`` what the service said."""
    made = _CLASSES.get(code, EngineError)
    said = _SECRETS.sub("[hidden]", " ".join(details.split()))[:_MOST_DETAILS]
    pause = _RETRY_AFTER.search(details)
    after_s = float(pause[1]) if pause else None
    return made(f"Azure Speech: {code}: {said}", stage=stage, provider=PROVIDER, retry_after_s=after_s)


def said_by_sdk(error: BaseException | None) -> str:
    """What an exception of the SDK says, without its call stack."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def timed_out(what: str, limit_s: float, stage: Stage) -> EngineTimeout:
    """One of our watchdogs went off."""
    return EngineTimeout(f"Azure Speech: {what} within {limit_s:g} s", stage=stage, provider=PROVIDER)


def unavailable(message: str, stage: Stage) -> EngineUnavailable:
    """The engine cannot be had."""
    return EngineUnavailable(f"Azure Speech: {message}", stage=stage, provider=PROVIDER)


def overloaded(message: str, stage: Stage) -> EngineOverloaded:
    """Our own bounds were met."""
    return EngineOverloaded(f"Azure Speech: {message}", stage=stage, provider=PROVIDER)
