"""The vocabulary of the sockets ``/v1/voice/ws`` and ``/v1/ws``, in one place.

Client messages are in ``client_messages``, server messages in ``server_messages``, the settings of a voice session in
``session``. Here they meet as two closed, discriminated unions with their validators.
"""

from __future__ import annotations

from typing import Final, get_args

from pydantic import TypeAdapter

from server.contracts.chat import STREAM_MESSAGES
from server.contracts.client_messages import (
    AnyClientMessage,
    BudgetConsentMessage,
    ChatCancelMessage,
    ChatStartMessage,
    ClientMessage,
    SessionResumeMessage,
)
from server.contracts.server_messages import (
    AnyServerMessage,
    ServerMessage,
    SessionDrainingMessage,
    SessionResumedMessage,
    SessionStartedMessage,
)

CLIENT_MESSAGES: Final[tuple[type[ClientMessage], ...]] = get_args(get_args(AnyClientMessage)[0])
SERVER_MESSAGES: Final[tuple[type[ServerMessage], ...]] = get_args(get_args(AnyServerMessage)[0])

CLIENT_MESSAGE: Final[TypeAdapter[AnyClientMessage]] = TypeAdapter(AnyClientMessage)
SERVER_MESSAGE: Final[TypeAdapter[AnyServerMessage]] = TypeAdapter(AnyServerMessage)


def type_of(message: type[ClientMessage] | type[ServerMessage]) -> str:
    """The ``type`` by which a message goes on the wire."""
    name = message.model_fields["type"].default
    assert isinstance(name, str)
    return name


CHAT_CLIENT_MESSAGES: Final[tuple[type[ClientMessage], ...]] = (
    ChatStartMessage,
    ChatCancelMessage,
    BudgetConsentMessage,
    SessionResumeMessage,
)
"""What the chat socket takes."""

CHAT_SERVER_MESSAGES: Final[tuple[type[ServerMessage], ...]] = (
    SessionStartedMessage,
    SessionResumedMessage,
    SessionDrainingMessage,
    *STREAM_MESSAGES,
)
"""What the chat socket sends."""
