"""Pipecat, with its OpenAI Realtime service told another address, holds a whole conversation with the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients.chat_endpoint import GREETING, LONG_ANSWER
from clients.harness import Listener, check_speech, check_whole_conversation, environment_python, program, run
from e2e.real_server import RealServer
from e2e.spoken import match

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


def test_pipecat_holds_a_whole_conversation(
    server: RealServer, clips: Path, listener: Listener, tmp_path: Path
) -> None:
    python = environment_python("pipecat")
    report = run(program("pipecat_client", server.url, clips, tmp_path, python=python))
    check_whole_conversation(report, listener, greeted=True)
    greeting = report["answers"][0]
    assert match(GREETING, greeting["text"]) == 1, greeting
    check_speech(greeting, GREETING, listener)
    assert report["call"]["arguments_seen"] == "{'direction': 'forward', 'meters': 10}"
    # Pipecat's own memory of the conversation: the answer that was interrupted is there, and is not whole.
    said = [one.get("content") or "" for one in report["session"]["context"] if one.get("role") == "assistant"]
    interrupted = [text for text in said if text and LONG_ANSWER.startswith(text[:30])]
    assert len(interrupted) == 1, said
    assert len(interrupted[0]) < len(LONG_ANSWER)
