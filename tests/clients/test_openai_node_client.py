"""The official OpenAI package for JavaScript holds a whole conversation, over TLS, as it insists."""

from __future__ import annotations

from typing import Any

import pytest
from clients.harness import Client, Listener, check_whole_conversation

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]

CLIENTS = [Client("openai_node", variant, "node", secure=True) for variant in ("ws", "websocket")]


@pytest.mark.parametrize("conversation", CLIENTS, indirect=True, ids=str)
def test_the_openai_package_holds_a_whole_conversation(conversation: dict[str, Any], listener: Listener) -> None:
    check_whole_conversation(conversation, listener)
