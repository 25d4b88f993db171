"""Tokens of a managed identity for Azure OpenAI, got off the event loop.

Owns the credential (made with its first token, since its package is slow to import), one thread at a time for it, and
the limit of a wait. ``audio.azure.credentials`` holds the token and renews it before it expires. Knows no model; a
token source of this kind is handed to ``agents.models.openai_client``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from agents.errors import ModelUnavailable
from agents.models.openai_client import TokenSource
from audio.azure.credentials import Credential, managed_identity
from audio.errors import EngineError

logger = logging.getLogger(__name__)

PROVIDER: Final = "azure_openai"
TOKEN_LIMIT_S: Final = 5.0


def managed_identity_tokens(client_id: str | None) -> TokenSource:
    """Tokens of the machine's identity (``client_id`` names a user-assigned one), or of whoever is signed in."""
    return AzureTokens(partial(managed_identity, None, client_id)).token


class AzureTokens:
    """Tokens of one credential, for any number of requests at once."""

    def __init__(self, make: Callable[[], Credential], limit_s: float = TOKEN_LIMIT_S) -> None:
        """``make`` may block and raise EngineError, like the credential it makes."""
        self._make = make
        self._limit_s = limit_s
        self._credential: Credential | None = None
        # One thread, however many wait: a source of tokens that hangs takes no others with it.
        self._thread = anyio.CapacityLimiter(1)

    async def token(self) -> str:
        """A token good for the next request. Raises ModelUnavailable; the reason is for the log, not for clients."""
        try:
            with anyio.fail_after(self._limit_s):
                return await anyio.to_thread.run_sync(self._get, limiter=self._thread, abandon_on_cancel=True)
        except (EngineError, TimeoutError) as error:
            logger.warning("no token for Azure OpenAI", extra={"reason": str(error) or "no answer in time"})
            message = "The server has no access to the language model at the moment."
            raise ModelUnavailable(message, provider=PROVIDER) from None

    def _get(self) -> str:
        if self._credential is None:
            self._credential = self._make()
        return self._credential.secret().value
