"""Budgets and the recordings that realtime clients put into a conversation, on a real server."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
from e2e.realtime_client import realtime, speech_24k

from metering.ledger import UsageQuery
from tests.scripted_server import eventually, served


async def test_a_realtime_client_at_its_limit_has_no_recordings_recognised_and_is_told(tmp_path: Path) -> None:
    daily = [{"scope": "tenant", "period": "daily", "measure": "turns", "amount": "1"}]
    audio = {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}
    recording = base64.b64encode(speech_24k(silence_s=0)).decode()
    async with (
        served(tmp_path, budgets={"limits": daily, "consent": "auto"}) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http,
        realtime(server.url) as client,
    ):
        await client.say("session.update", session={"type": "realtime", "audio": audio, "output_modalities": ["text"]})
        for part in ({"type": "input_text", "text": "hi"}, {"type": "input_audio", "audio": recording}):
            item = {"type": "message", "role": "user", "content": [part]}
            await client.say("conversation.item.create", item=item)
            if part["type"] == "input_text":
                await client.say("response.create")
                await client.until("response.done")
        failed = await client.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["message"] == "The recording could not be recognised."
        assert (await client.until("error"))["error"]["code"] == "insufficient_quota"
        await eventually(lambda: server.application.host.ledger.totals(UsageQuery()).audio_ms_in == 0)
        assert [item["used"] for item in (await http.get("/v1/budgets")).json()["budgets"]] == ["1"]
