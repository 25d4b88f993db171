"""Microsoft's Azure Voice Live client holds a whole conversation with the server, told another endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients.harness import Listener, check_whole_conversation, environment_python, program, run
from e2e.real_server import RealServer

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


@pytest.mark.parametrize("variant", ["semantic-vad", "server-vad"])
def test_the_voice_live_client_holds_a_whole_conversation(
    server: RealServer, clips: Path, listener: Listener, tmp_path: Path, variant: str
) -> None:
    python = environment_python("voicelive")
    report = run(program("voicelive_client", server.url, clips, tmp_path, "--variant", variant, python=python))
    check_whole_conversation(report, listener)
