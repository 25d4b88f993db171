"""The official OpenAI SDK mints a client secret, opens a call with it, converses, and hangs up."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients.harness import Listener, check_whole_conversation, program, run
from e2e.real_server import RealServer

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]


@pytest.mark.parametrize("variant", ["secret", "session"])
def test_a_call_is_a_whole_conversation_until_it_is_hung_up(
    server: RealServer, clips: Path, listener: Listener, tmp_path: Path, variant: str
) -> None:
    report = run(program("openai_python_calls", server.url, clips, tmp_path, "--variant", variant))
    check_whole_conversation(report, listener, truncated_by_client=False)
    assert report["session"]["hung_up"].startswith("rtc_")
    assert report["session"]["ended_before_hangup"] is False
    assert "response.output_audio.delta" in report["counts"]  # the program's own, from the track
    assert report["counts"]["output_audio_buffer.started"] >= 3
    assert report["counts"]["output_audio_buffer.cleared"] == 1
