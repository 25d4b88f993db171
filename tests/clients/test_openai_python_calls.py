"""The official OpenAI SDK mints a client secret, opens a call with it, converses, and hangs up."""

from __future__ import annotations

from typing import Any

import pytest
from clients.harness import Client, Listener, check_events, check_whole_conversation
from contract.openai_realtime_models import validate

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]

CLIENTS = [Client("openai_python_calls", variant) for variant in ("secret", "session")]


@pytest.mark.parametrize("conversation", CLIENTS, indirect=True, ids=str)
def test_a_call_is_a_whole_conversation_until_it_is_hung_up(conversation: dict[str, Any], listener: Listener) -> None:
    check_whole_conversation(conversation, listener, truncated_by_client=False)
    check_events(conversation, validate)
    assert conversation["notes"]["hung_up"].startswith("rtc_")
    assert conversation["notes"]["ended_before_hangup"] is False
    assert conversation["counts"]["output_audio_buffer.started"] >= 3
    assert conversation["counts"]["output_audio_buffer.cleared"] == 1
