"""Pipecat, with its OpenAI Realtime service told another address, holds a whole conversation with the server."""

from __future__ import annotations

from typing import Any

import pytest
from clients.chat_endpoint import GREETING, LONG_ANSWER
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
    # Pipecat's own memory of the conversation: the answer that was interrupted is there, and is not whole.
    said = [one.get("content") or "" for one in conversation["session"]["context"] if one.get("role") == "assistant"]
    interrupted = [text for text in said if text and LONG_ANSWER.startswith(text[:30])]
    assert len(interrupted) == 1, said
    assert len(interrupted[0]) < len(LONG_ANSWER)
