"""One request to one receiver, and what its answer means. Knows no ledger and no records.

Redirects are not followed and no proxy of the environment is used: a request goes where the operator said, or nowhere.
The body of an answer is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import anyio
import httpx

from server.version import __version__
from server.webhook_settings import WebhookEndpoint, secret_key
from server.webhooks.cloud_events import Message
from server.webhooks.signing import signed_headers

MOST_RETRY_AFTER_S: Final = 24 * 3_600.0
_GONE: Final = 410
_REJECTED: Final = frozenset({400, 409, 413, 415, 422})
"""What a receiver says about an event; everything else is about itself, and any event would fare the same."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """It was taken."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It was not. ``rejected``: because of what it is; ``retry_after_s`` is what the receiver asked for."""

    reason: str
    rejected: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver wants nothing more (410)."""


Outcome = Delivered | Failed | Gone


class Sender:
    """Requests to one endpoint. Close it."""

    def __init__(self, endpoint: WebhookEndpoint, timeout_s: float, epoch_ms: Callable[[], int]) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._epoch_ms = epoch_ms
        self._keys = [secret_key(secret.get_secret_value()) for secret in endpoint.secrets]
        self._http = httpx.AsyncClient(
            trust_env=False, follow_redirects=False, timeout=timeout_s, limits=httpx.Limits(max_connections=1)
        )

    async def send(self, message: Message) -> Outcome:
        """Send it, within the time; whatever goes wrong is an outcome."""
        now_ms = self._epoch_ms()
        headers = signed_headers(self._keys, message.id, now_ms // 1_000, message.body)
        headers |= {"Content-Type": message.content_type, "User-Agent": f"convergio-voice/{__version__}"}
        if self._endpoint.token is not None:
            headers["Authorization"] = f"Bearer {self._endpoint.token.get_secret_value()}"
        try:
            with anyio.fail_after(self._timeout_s):
                async with self._http.stream("POST", self._endpoint.url, content=message.body, headers=headers) as got:
                    return _outcome(got, now_ms)
        except TimeoutError:
            return Failed("no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Failed(f"it cannot be reached ({type(error).__name__})")

    async def aclose(self) -> None:
        """Close its connection."""
        await self._http.aclose()


def _outcome(got: httpx.Response, now_ms: int) -> Outcome:
    if got.is_success:
        return Delivered()
    if got.status_code == _GONE:
        return Gone()
    after_s = retry_after_s(got.headers.get("retry-after"), now_ms)
    return Failed(f"it answered {got.status_code}", got.status_code in _REJECTED, after_s)


def retry_after_s(text: str | None, now_ms: int) -> float | None:
    """How long a Retry-After header asks to wait (RFC 9110, section 10.2.3), at most a day; None: it says nothing."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return min(float(text), MOST_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return min(max(0.0, at.timestamp() - now_ms / 1_000), MOST_RETRY_AFTER_S)
