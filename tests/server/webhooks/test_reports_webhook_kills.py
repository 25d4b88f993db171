"""Webhooks under SIGKILL: at every step of a courier, and of a whole server; every event arrives."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from webhook_receiver import SECRET, receiving

from metering.identity import as_correction
from metering.ledger import UsageQuery, read_all
from metering.sqlite_ledger import SqliteLedger
from metering.usage import UsageEvent
from tests.e2e.real_server import scripted_server
from tests.metering.usage_events import numbered
from tests.scripted_server import eventually

STEPS = {
    "before a transaction",
    "amid a transaction",
    "after a transaction",
    "before a request",
    "after a request",
    "before the records are read",
    "after the ledger was read",
}


def recorded(data_dir: Path) -> list[UsageEvent]:
    ledger = SqliteLedger(data_dir / "usage.sqlite3")
    try:
        return list(read_all(ledger, UsageQuery(replaced=True)))
    finally:
        ledger.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("batch", [1, 3])
def test_killed_at_every_step_every_event_arrives_in_order_and_by_its_id_once(tmp_path: Path, batch: int) -> None:
    ledger = SqliteLedger(tmp_path / "usage.sqlite3")
    for number in range(40):
        ledger.append([numbered(number)])
    ledger.append([as_correction(numbered(5), replace(numbered(5), audio_ms_in=1))])
    ledger.close()
    program = Path(__file__).with_name("mortal_courier.py")
    with receiving() as receiver:
        done = subprocess.run(
            [sys.executable, str(program), str(tmp_path), receiver.url, SECRET, str(batch), "26"],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    deaths = done.stdout.splitlines()
    assert set(deaths) == STEPS
    assert len(deaths) >= 16
    assert receiver.unsigned == 0
    expected = recorded(tmp_path)
    assert [event["id"] for event in receiver.took()] == [event.event_id for event in expected]
    sent = sum(len(arrival.events) for arrival in receiver.arrivals)
    assert sent > len(expected), "some were sent and not noted: the same id tells them"


async def test_a_server_that_is_killed_delivers_the_rest_when_it_is_back(tmp_path: Path) -> None:
    with receiving() as receiver:
        endpoint = {"id": "billing", "url": receiver.url, "secrets": [SECRET], "start": "beginning"}
        settings = {
            "webhooks__endpoints": json.dumps([endpoint]),
            "webhooks__poll_s": 0.02,
            "webhooks__first_pause_s": 0.05,
        }
        receiver.decide = lambda _: (503, {})
        with scripted_server(tmp_path, **settings) as server:
            async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as http:
                for number in range(4):
                    answer = await http.post("/v1/chat", json={"prompt": f"hi {number}"})
                    assert answer.status_code == 200, "a receiver that fails holds no turn up"
                await eventually(lambda: receiver.arrivals)
            server.kill()
        receiver.decide = lambda _: (200, {})
        with scripted_server(tmp_path, **settings) as server:
            await eventually(lambda: len(receiver.took()) == len(recorded(tmp_path)) == 4, 30)
            async with httpx.AsyncClient(trust_env=False) as http:
                metrics = (await http.get(f"{server.url}/metrics")).text
    assert "convergio_webhook_backlog" in metrics
    assert [event["id"] for event in receiver.took()] == [event.event_id for event in recorded(tmp_path)]
