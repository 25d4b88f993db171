"""The bodies of the routes about telephone calls."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from server.contracts.base import AgentId, ClientId, Contract, Locale, Milliseconds, ServerId
from server.telephony.control import CallStatus
from server.telephony_settings import NUMBER_PATTERN


class CallRequest(Contract):
    """A call to be placed."""

    to: Annotated[str, Field(pattern=NUMBER_PATTERN, max_length=256)]
    """Whom to call: E.164 (`+15550100123`) or a SIP URI."""
    request_id: ClientId | None = None
    """Names the wish: however often it comes, somebody is called once. Absent: the `X-Request-Id` header."""
    carrier: Annotated[str, Field(max_length=32)] | None = None
    """Which carrier to call with. Absent: the first that is set up."""
    agent_id: AgentId | None = None
    """Who talks. Absent: the default agent."""
    locale: Locale | None = None
    """In which language. Absent: `telephony.locale`."""
    greeting: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """What the agent says first. Absent: its usual greeting."""
    on_machine: Literal["talk", "hang_up"] = "talk"
    """What to do where an answering machine answers, if the carrier can tell."""


class CallResponse(Contract):
    """A call, and what has become of it."""

    request_id: ServerId
    call_id: ServerId
    carrier: str
    direction: Literal["inbound", "outbound"]
    number: str
    """The other end's, all but its last digits left out."""
    status: CallStatus
    """`unknown`: the carrier never said whether it placed the call. It is not placed again."""
    reason: str | None = None
    """Who ended it, or why it failed."""
    created_ms: Milliseconds
    """When it was asked for, or came (Unix time)."""
    ended_ms: Milliseconds | None = None
    session_id: ServerId | None = None
    """The conversation that was held, as usage events name it."""
    call_ms: Milliseconds | None = None
    """How long it lasted."""
