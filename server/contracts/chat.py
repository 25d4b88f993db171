"""Written conversation over HTTP: ``POST /v1/chat``, ``POST /v1/chat/stream`` and ``GET /v1/agents``.

The stream is Server-Sent Events with the socket's own messages: ``event`` is the message's ``type``, ``id`` its
``event_id``, ``data`` the same JSON. It ends with ``chat.complete`` or ``error``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from metering.usage import Mode
from server.contracts.base import AgentId, ClientId, Contract, ServerId
from server.contracts.server_messages import (
    BudgetWarningMessage,
    ChatCompleteMessage,
    ChatTokenMessage,
    ContentFilteredMessage,
    DegradedMessage,
    ErrorMessage,
    ServerMessage,
    ToolCallMessage,
    ToolResultMessage,
    TurnLatencyMessage,
    TurnStartedMessage,
    UsageSummary,
)


class HistoryEntry(Contract):
    """Something said before."""

    role: Literal["user", "assistant"]
    text: Annotated[str, StringConstraints(min_length=1, max_length=32_000)]


class ChatRequest(Contract):
    """A question in writing. The server keeps nothing between requests: what was said before comes along."""

    prompt: Annotated[str, StringConstraints(min_length=1, max_length=32_000)]
    request_id: ClientId | None = None
    """The client's name for this request. Every answer counts, even to a used one. Absent: the server makes one."""
    agent_id: AgentId | None = None
    """Who answers. Absent: the server's default agent."""
    mode: Mode | None = None
    """Whose provider keys are used. Absent: the tenant's default lane."""
    model_hint: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """A wish, not an order: the model the client would like."""
    budget_consent: bool = False
    """Whether to answer although a budget is nearly used up. Else, where the tenant's policy asks, such a request is
    refused with `quota.exceeded` and `details.consent` `needed`."""
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=200)] = ()
    """Oldest first."""


class ChatResponse(Contract):
    """The whole answer."""

    request_id: ServerId
    agent_id: str
    text: str
    usage: UsageSummary
    filtered: bool = False
    """A content filter of the model's provider refused to answer; `text` says so."""


class AgentInfo(Contract):
    """An agent one may talk to."""

    agent_id: AgentId
    name: str
    description: str
    default: bool = False
    """Whether it answers where no `agent_id` is given."""


class AgentList(Contract):
    """The agents of this server."""

    request_id: ServerId
    agents: tuple[AgentInfo, ...]


STREAM_MESSAGES: Final[tuple[type[ServerMessage], ...]] = (
    TurnStartedMessage,
    ChatTokenMessage,
    ToolCallMessage,
    ToolResultMessage,
    TurnLatencyMessage,
    DegradedMessage,
    BudgetWarningMessage,
    ContentFilteredMessage,
    ChatCompleteMessage,
    ErrorMessage,
)
"""What ``POST /v1/chat/stream`` may send."""
