"""The official OpenAI SDK for Python holds a whole conversation with the server, told another URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients.harness import Listener, check_whole_conversation, program, run
from e2e.real_server import RealServer

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


@pytest.mark.parametrize("variant", ["async", "sync", "azure-async", "azure-sync", "azure-v1"])
def test_the_openai_sdk_holds_a_whole_conversation(
    server: RealServer, clips: Path, listener: Listener, tmp_path: Path, variant: str
) -> None:
    report = run(program("openai_python", server.url, clips, tmp_path, "--variant", variant))
    check_whole_conversation(report, listener)
