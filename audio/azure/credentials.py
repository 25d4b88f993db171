"""Who asks the service: a key, a token somebody provides, or the machine's managed identity.

Owns the token in hand and when it must be renewed; a secret is never part of a ``repr``, an error or a log line. All
of it may block and runs on worker threads (``InferencePool``), never on the event loop. One credential belongs to one
tenant: pools are made per credential, so that a connection opened with one key never serves another.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from audio.errors import EngineError, EngineUnavailable, Stage

_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
_RENEW_BEFORE_S: Final = 120.0
PROVIDER: Final = "azure"


@dataclass(frozen=True, slots=True)
class Secret:
    """What goes into the handshake: a key, or a token good until ``expires_s`` (seconds since the epoch)."""

    kind: Literal["key", "token"]
    value: str = field(repr=False)
    expires_s: float | None = None


class Credential(Protocol):
    """A source of secrets."""

    @property
    def fingerprint(self) -> str:
        """Tells credentials apart without telling them."""
        ...

    def secret(self) -> Secret:
        """The secret to use now; may block. Raises EngineError (EngineUnavailable where there is none to be had)."""
        ...


class KeyCredential:
    """A resource key."""

    def __init__(self, key: str) -> None:
        if not key:
            raise ValueError("the key is empty")
        self._secret = Secret("key", key)
        self._fingerprint = _digest(key)

    def __repr__(self) -> str:
        return f"KeyCredential({self._fingerprint})"

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def secret(self) -> Secret:
        return self._secret


class ChangingCredential:
    """A resource key that may be changed, or taken back for good, while engines use it.

    Connections made with an earlier one count as unhealthy from then on: what runs on them comes to its end, and the
    next is made with the key of that time. Changed on one thread, read on any.
    """

    def __init__(self, key: str) -> None:
        self._secret: Secret | None = Secret("key", key)
        self._fingerprint = _digest(key)

    def __repr__(self) -> str:
        return f"ChangingCredential({self._fingerprint})"

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def is_withdrawn(self) -> bool:
        """Whether it was taken back."""
        return self._secret is None

    def change(self, key: str) -> None:
        """From now on this one."""
        self._secret, self._fingerprint = Secret("key", key), _digest(key)

    def withdraw(self) -> None:
        """From now on none."""
        self._secret, self._fingerprint = None, "withdrawn"

    def secret(self) -> Secret:
        secret = self._secret
        if secret is None:
            raise EngineUnavailable("Azure Speech: the key was taken back", stage="stt", provider=PROVIDER)
        return secret


class TokenCredential:
    """Tokens from a function, renewed two minutes before they expire; a token in hand outlives a failed renewal."""

    def __init__(
        self,
        provide: Callable[[], Secret],
        name: str,
        stage: Stage = "stt",
        now_s: Callable[[], float] = time.time,  # noqa: TID251 - tokens expire by the wall clock
    ) -> None:
        self._provide = provide
        self._name = name
        self._stage: Stage = stage
        self._now_s = now_s
        self._lock = threading.Lock()
        self._secret: Secret | None = None

    def __repr__(self) -> str:
        return f"TokenCredential({self._name})"

    @property
    def fingerprint(self) -> str:
        return _digest(self._name)

    def secret(self) -> Secret:
        with self._lock:
            held = self._secret
            if held is not None and self._good_for_s(held) > _RENEW_BEFORE_S:
                return held
            try:
                self._secret = self._provide()
            except EngineError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a provider raises
                if held is not None and self._good_for_s(held) > 0:
                    return held
                kind = type(error).__name__  # its text may quote what was sent
                message = f"no token was to be had from {self._name} ({kind})"
                raise EngineUnavailable(message, stage=self._stage, provider=PROVIDER) from None
            return self._secret

    def _good_for_s(self, secret: Secret) -> float:
        return float("inf") if secret.expires_s is None else secret.expires_s - self._now_s()


def managed_identity(resource_id: str | None, client_id: str | None = None) -> TokenCredential:
    """Tokens of the machine's identity, or of whoever is signed in (azure-identity's default chain).

    ``resource_id`` is needed with a region's endpoint; ``client_id`` chooses a user-assigned identity. Raises
    EngineUnavailable where azure-identity is not installed.
    """
    try:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        message = "azure-identity is not installed (extra: azure)"
        raise EngineUnavailable(message, stage="stt", provider=PROVIDER) from error
    chain = DefaultAzureCredential(managed_identity_client_id=client_id) if client_id else DefaultAzureCredential()

    def provide() -> Secret:
        token = chain.get_token(_SCOPE)
        value = f"aad#{resource_id}#{token.token}" if resource_id else token.token
        return Secret("token", value, float(token.expires_on))

    return TokenCredential(provide, f"managed identity {client_id or ''} {resource_id or ''}".strip())


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:12]
