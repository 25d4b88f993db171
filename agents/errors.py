"""What can go wrong in a conversation.

AgentError
├── ModelError            a language model failed (provider, retryable)
│   ├── ModelUnavailable  not configured, not loaded, not reachable
│   ├── ModelTimeout      no answer within the limit
│   ├── ModelRateLimited  the provider refuses for now (retry_after_s)
│   └── ModelRejected     refused for good (no such model, no funds)
│       ├── KeyRejected       the provider does not know the key (401)
│       ├── KeyMissing        the tenant must bring a key of its own, and has none
│       └── RequestRejected   this request is refused, others may pass (malformed, too large)
├── ToolError             a tool failed or refused its arguments
└── SessionClosed         the session has ended; nothing more is taken
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Base of everything this room raises on purpose."""


class ModelError(AgentError):
    """A language model failed. ``code`` is the contract's error code.

    ``retry_after_s`` says how long the provider asked to be left alone, where it told. ``has_cost``: it had begun to
    work on the request, which is paid for.
    """

    code: ClassVar[str] = "provider.unavailable"
    retryable: ClassVar[bool] = True
    worked: ClassVar[bool] = False
    """Whether a model that fails in this way has been at work, where nothing else is known."""

    def __init__(
        self, message: str, *, provider: str, retry_after_s: float | None = None, has_cost: bool | None = None
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.retry_after_s = retry_after_s
        self.has_cost = self.worked if has_cost is None else has_cost


class ModelUnavailable(ModelError):
    """The model cannot be reached or loaded."""


class ModelTimeout(ModelError):
    """The model did not answer within its limit."""

    code = "provider.timeout"
    worked = True


class ModelRateLimited(ModelError):
    """The provider refuses for now."""

    code = "provider.rate_limited"


class ModelRejected(ModelError):
    """The provider refuses for good: it will not mend by itself."""

    retryable = False


class KeyRejected(ModelRejected):
    """The provider does not know the key."""


class KeyMissing(ModelRejected):
    """The tenant must bring a key of its own, and has none."""

    code = "byok.missing_key"


class RequestRejected(ModelRejected):
    """The provider refuses this request for good; it says nothing about the next one."""


class ToolError(AgentError):
    """A tool failed; the message goes back to the model."""


class SessionClosed(AgentError):
    """The session has ended."""
