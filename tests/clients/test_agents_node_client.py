"""The OpenAI Agents SDK's RealtimeSession holds a whole conversation over a WebSocket, told another URL."""

from __future__ import annotations

from typing import Any

import pytest
from clients.chat_endpoint import FUNCTION_ARGUMENTS, SHORT_ANSWER
from clients.harness import UNDERSTOOD, Client, Listener, check_whole_conversation
from e2e.spoken import match, transcript

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]


@pytest.mark.parametrize("conversation", [Client("agents_node", "", "node")], indirect=True, ids=str)
def test_the_agents_sdk_holds_a_whole_conversation(conversation: dict[str, Any], listener: Listener) -> None:
    check_whole_conversation(conversation, listener)
    sdk = conversation["sdk"]
    assert sdk["sdkErrors"] == []
    assert sdk["calls"] == [FUNCTION_ARGUMENTS]
    assert sdk["interrupted"] >= 1
    assert sdk["audioBytes"] > 0
    assert match(SHORT_ANSWER, sdk["agentEnds"][-1]) == 1
    # The SDK's own memory: who said what, in the order it was said, with the call in its place.
    kinds = [item.get("role") or item["type"] for item in sdk["history"]]
    assert kinds == ["user", "function_call", "assistant", "user", "assistant", "user", "assistant"], sdk["history"]
    assert match(transcript("goforward"), sdk["history"][0]["text"][0]) >= UNDERSTOOD
