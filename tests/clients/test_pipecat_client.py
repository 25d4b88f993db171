"""Pipecat, with its OpenAI Realtime service told another address, holds a whole conversation with the server."""

from __future__ import annotations

from typing import Any

import pytest
from clients.chat_endpoint import FUNCTION_ANSWER, GREETING, LONG_ANSWER, SHORT_ANSWER
from clients.harness import Client, Listener, check_speech, check_whole_conversation
from e2e.spoken import match

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]


@pytest.mark.parametrize("conversation", [Client("pipecat_client", "", "pipecat")], indirect=True, ids=str)
def test_pipecat_holds_a_whole_conversation(conversation: dict[str, Any], listener: Listener) -> None:
    check_whole_conversation(conversation, listener, greeted=True)
    greeting = conversation["answers"][0]
    assert match(GREETING, greeting["text"]) == 1, greeting
    check_speech(greeting, GREETING, listener)
    assert conversation["call"]["arguments_seen"] == "{'direction': 'forward', 'meters': 10}"
    # Pipecat's own memory of the conversation, kept from our transcripts: every turn is there, in order.
    said = [one.get("content") for one in conversation["notes"]["context"] if one.get("role") == "assistant"]
    texts = [text.strip() for text in said if isinstance(text, str) and text.strip()]
    assert [texts[0], texts[1], texts[3]] == [GREETING, FUNCTION_ANSWER.format("the kitchen window"), SHORT_ANSWER]
    assert LONG_ANSWER.startswith(texts[2])
