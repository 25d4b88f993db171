"""The official OpenAI SDK for Python holds a whole conversation with the server, told another URL."""

from __future__ import annotations

from typing import Any

import pytest
from clients.chat_endpoint import FUNCTION_NAME, LONG_ANSWER, ChatEndpoint
from clients.dialogue import INSTRUCTIONS
from clients.harness import Client, Listener, check_events, check_whole_conversation
from contract.openai_realtime_models import validate

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]

CLIENTS = [Client("openai_python", variant) for variant in ("async", "sync", "azure-async", "azure-sync", "azure-v1")]


@pytest.mark.parametrize("conversation", CLIENTS, indirect=True, ids=str)
def test_the_openai_sdk_holds_a_whole_conversation(conversation: dict[str, Any], listener: Listener) -> None:
    check_whole_conversation(conversation, listener)
    check_events(conversation, validate)


@pytest.mark.parametrize("conversation", CLIENTS[:1], indirect=True, ids=str)
def test_the_model_is_told_what_the_client_configured_and_what_the_user_heard(
    conversation: dict[str, Any], chat: ChatEndpoint
) -> None:
    assert conversation["finished"]
    calls = [body for body in chat.requests if f'"{conversation["call"]["call_id"]}"' in str(body).replace("'", '"')]
    last = calls[-1]
    roles = [message["role"] for message in last["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "user"]
    assert last["messages"][0]["content"] == INSTRUCTIONS
    assert FUNCTION_NAME in [tool["function"]["name"] for tool in last["tools"]]
    heard = last["messages"][6]["content"].rstrip("… ")
    assert 0 < len(heard) < len(LONG_ANSWER) / 2
    assert LONG_ANSWER.startswith(heard)
