"""The smoke test for real accounts, run against the local service; and ``doctor`` as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from azure.emulator_process import azure_emulator
from real_server import ROOT, environment, require_engines, run_program

from server.cli.azure_round_trip import PHRASE

SMOKE = ROOT / "scripts" / "smoke_azure.py"
KEY = "azure-canary-smoke-20b7"


def smoke(cwd: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SMOKE)],
        cwd=cwd,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_without_an_account_it_is_skipped_with_one_sentence(tmp_path: Path) -> None:
    done = smoke(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("smoke-azure: skipped, for there is no Azure Speech account")
    assert done.stdout.count("\n") == 1


@pytest.mark.engines
@pytest.mark.timeout(240)
def test_a_whole_conversation_is_held_and_measured(tmp_path: Path) -> None:
    pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
    require_engines()
    with azure_emulator("--key", KEY, scripted=False) as service:
        done = smoke(tmp_path, azure__host=service.ws_url, azure__key=KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all of it works" in done.stdout
    for figure in ("first audio", "last word to first audio", "total", "usage:"):
        assert figure in done.stdout
    assert KEY not in done.stdout + done.stderr


@pytest.mark.timeout(120)
def test_an_account_that_refuses_is_told_and_fails(tmp_path: Path) -> None:
    pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
    with azure_emulator("--key", "another") as service:
        done = smoke(tmp_path, azure__host=service.ws_url, azure__key=KEY)
    assert done.returncode == 1
    assert "401" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr


@pytest.mark.engines
@pytest.mark.timeout(180)
def test_doctor_tells_of_accounts_by_exit_code_and_figures(tmp_path: Path) -> None:
    pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")
    require_engines()
    tenants = json.dumps(
        [{"id": "school", "api_keys": ["an-api-key-of-the-school"], "azure": {"host": "ws://127.0.0.1:9", "key": KEY}}]
    )
    with azure_emulator("--key", KEY, "--say", PHRASE) as service:
        done = run_program(
            *("doctor", "--json"),
            limit_s=150,
            data_dir=tmp_path,
            azure__host=service.ws_url,
            azure__key=KEY,
            tenants=tenants,
        )
    told = {check["what"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1, "the school's account does not work"
    assert told["azure speech"]["verdict"] == "ok"
    assert told["azure speech"]["figures"]["first_audio_ms"] >= 0
    assert told["azure speech of school"]["verdict"] == "wrong"
    assert KEY not in done.stdout + done.stderr
