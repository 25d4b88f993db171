"""The official OpenAI SDK for Python holds a whole conversation with the server, told another URL."""

from __future__ import annotations

from typing import Any

import pytest
from clients.harness import Client, Listener, check_whole_conversation

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]

CLIENTS = [Client("openai_python", variant) for variant in ("async", "sync", "azure-async", "azure-sync", "azure-v1")]


@pytest.mark.parametrize("conversation", CLIENTS, indirect=True, ids=str)
def test_the_openai_sdk_holds_a_whole_conversation(conversation: dict[str, Any], listener: Listener) -> None:
    check_whole_conversation(conversation, listener)
