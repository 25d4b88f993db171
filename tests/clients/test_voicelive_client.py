"""Microsoft's Azure Voice Live client holds a whole conversation with the server, told another endpoint."""

from __future__ import annotations

from typing import Any

import pytest
from clients.harness import Client, Listener, check_events, check_whole_conversation

pytestmark = [pytest.mark.engines, pytest.mark.timeout(600)]

CLIENTS = [Client("voicelive_client", variant, "voicelive") for variant in ("semantic-vad", "server-vad")]


@pytest.mark.parametrize("conversation", CLIENTS, indirect=True, ids=str)
def test_the_voice_live_client_holds_a_whole_conversation(conversation: dict[str, Any], listener: Listener) -> None:
    check_whole_conversation(conversation, listener)


@pytest.mark.parametrize("conversation", CLIENTS, indirect=True, ids=str)
def test_every_event_is_what_the_voice_live_client_declares(conversation: dict[str, Any]) -> None:
    pytest.importorskip("azure.ai.voicelive", reason="needs azure-ai-voicelive, the official Voice Live client")
    from contract.voicelive_models import validate  # noqa: PLC0415 - only where the SDK is installed

    check_events(conversation, validate)
