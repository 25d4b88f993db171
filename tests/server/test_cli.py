"""The command line: quick, human on terminals and in errors, exact for machines."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from click.testing import CliRunner

from audio.wav import read_wav
from metering.identity import event_id
from metering.ledger import UsageQuery, read_all
from metering.sqlite_ledger import SqliteLedger
from server.cli.main import COMMANDS, cli
from server.version import __version__
from tests.scripted_server import eventually, scripted_engines, served

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "tests" / "fixtures" / "speech" / "goforward.wav"


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from server.cli.main import main; main()", *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_version_is_told(tmp_path: Path) -> None:
    done = command("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"convergio-voice {__version__}\n")


def test_asking_for_help_imports_neither_the_server_nor_an_engine(tmp_path: Path) -> None:
    code = "import sys\nfrom server.cli.main import run\nassert run(['--help']) == 0\nprint(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import site; site.main()\n{code}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    for name in COMMANDS:
        assert name in done.stdout
    loaded = set(done.stdout.rsplit("\n", 2)[-2].split())
    assert not loaded & {"numpy", "pydantic", "starlette", "uvicorn", "rich", "httpx", "websockets", "server.settings"}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


def test_an_unknown_command_is_told_in_a_sentence() -> None:
    assert "No such command" in CliRunner().invoke(cli, ["dance"]).output


def test_wrong_settings_are_sentences_not_tracebacks(tmp_path: Path) -> None:
    (tmp_path / "convergio.toml").write_text('api_keys = ["short"]\n')
    done = command("serve", "--port", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert "at least 16 characters" in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b[" not in done.stderr


def test_a_port_in_use_is_told_with_another_to_try(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--port", str(port), cwd=tmp_path)
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = command("serve", "--port", "0", "--data-dir", str(tmp_path / "file" / "data"), cwd=tmp_path)
    assert done.returncode == 1
    assert "--data-dir" in done.stderr
    assert "Traceback" not in done.stderr


NO_ENGINES = {
    "CONVERGIO_STT__ENGINE": "none",
    "CONVERGIO_TTS__ENGINE": "none",
    "CONVERGIO_MODEL__ENGINE": "none",
    "CONVERGIO_SPEECH__SILERO": "false",
    "CONVERGIO_SPEECH__SMART_TURN": "false",
}


async def test_serve_says_what_to_open_and_what_is_degraded_and_ends_well_on_sigterm(tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start_server(tmp_path, output)
    try:
        await eventually(lambda: "llm:" in output.read_text(), within_s=30)
        words = output.read_text()
        found = re.search(r"http://localhost:\d+", words)
        assert found is not None
        async with httpx.AsyncClient(trust_env=False) as http:
            ready = await http.get(f"{found.group()}/readyz")
        assert ready.json()["status"] == "degraded"
        assert "typing only" in words
        process.send_signal(signal.SIGTERM)
        assert await anyio.to_thread.run_sync(process.wait, 10) == 0
    finally:
        process.kill()
        process.wait(5)


def start_server(tmp_path: Path, output: Path) -> subprocess.Popen[bytes]:
    """``serve`` without engines, in a process of its own; what it prints goes to ``output``."""
    code = "from server.cli.main import main; main()"
    arguments = ["serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    environment = {**os.environ, **NO_ENGINES, "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, stdout=out, stderr=out
        )


def test_doctor_tells_what_stands_in_the_way_and_how_to_mend_it(tmp_path: Path) -> None:
    settings = {**NO_ENGINES, "CONVERGIO_DATA_DIR": str(tmp_path / "data")}
    done = command("doctor", "--json", cwd=tmp_path, **settings)
    document = json.loads(done.stdout)
    checks = {check["what"]: check for check in document["checks"]}
    assert done.returncode == 1
    assert checks["python"]["verdict"] == "ok"
    assert checks["llm"]["verdict"] == "wrong"
    assert {checks[stage]["verdict"] for stage in ("stt", "tts")} == {"wrong"}
    assert {checks[stage]["verdict"] for stage in ("vad", "endpoint")} == {"note"}
    plain = command("doctor", cwd=tmp_path, **settings)
    assert "Something stands in the way" in plain.stdout


def test_doctor_calls_a_taken_port_a_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = command("doctor", "--json", cwd=tmp_path, **NO_ENGINES, CONVERGIO_PORT=port)
    checks = {check["what"]: check for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, checks["port"]["verdict"]) == (1, "wrong")


def test_doctor_tells_wrong_settings(tmp_path: Path) -> None:
    done = command("doctor", "--json", cwd=tmp_path, CONVERGIO_PORT="many")
    assert done.returncode == 1
    assert json.loads(done.stdout)["checks"][-1]["what"] == "settings"


async def talk(server_url: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return await anyio.to_thread.run_sync(lambda: command("talk", "--url", server_url, *arguments, cwd=cwd))


async def test_talk_speaks_a_recording_shows_the_words_and_saves_the_answer(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server:
        done = await talk(server.url, str(SPEECH), "--save", "said.wav", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "you: Go forward ten meters." in done.stdout
    assert "agent: You said: Go forward ten meters.." in done.stdout
    assert "last word to first sound" in done.stdout
    assert "\x1b[" not in done.stdout
    samples, rate_hz = read_wav(tmp_path / "said.wav")
    assert len(samples) > rate_hz


async def test_talk_in_writing_for_machines(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server:
        done = await talk(server.url, "--text", "hello", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert document["answered"] is True
    assert [turn["agent"] for turn in document["turns"]] == ["You said: hello."]
    assert document["saved"] == "answer.wav"
    assert document["error"] is None
    assert document["turns"][0]["first_audio_ms"] > 0
    assert all(stage["duration_ms"] == round(stage["duration_ms"], 1) for stage in document["turns"][0]["latency"])


@pytest.mark.parametrize("more", [(), ("--json",)])
async def test_talk_tells_before_the_conversation_that_the_answer_cannot_be_saved(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    async with served(tmp_path / "data") as server:
        done = await talk(server.url, "--text", "hello", "--save", "nowhere/said.wav", *more, cwd=tmp_path)
    assert done.returncode == 1
    words = json.loads(done.stdout)["error"] if more else done.stderr
    assert "The answer cannot be saved to nowhere/said.wav: No such file or directory;" in words
    assert "Traceback" not in done.stderr
    ledger = SqliteLedger(tmp_path / "data" / "usage.sqlite3")
    try:
        assert ledger.totals(UsageQuery()).events == 0
    finally:
        ledger.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Say something"),
        (("nothing.wav",), "There is no file"),
        (("--text", "x", "--url", "http://127.0.0.1:9"), "cannot be talked to"),
    ],
)
def test_talk_tells_machines_what_is_wrong_in_one_document(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = command("talk", *arguments, "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert words in json.loads(done.stdout)["error"]
    assert not (tmp_path / "answer.wav").exists()


async def test_talk_fails_when_no_answer_comes(tmp_path: Path) -> None:
    engines = scripted_engines()
    engines.heard = ("",)
    async with served(tmp_path / "data", engines) as server:
        done = await talk(server.url, str(SPEECH), "--timeout", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert "No answer came" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Say something"),
        (("nothing.wav",), "There is no file"),
        (("--text", "x", "--url", "http://127.0.0.1:9"), "cannot be talked to"),
    ],
)
def test_talk_tells_what_is_wrong_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = command("talk", *arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr


async def test_usage_shows_every_turn_as_a_table_json_and_csv(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server, httpx.AsyncClient(trust_env=False) as http:
        await http.post(f"{server.url}/v1/chat", json={"prompt": "hi", "request_id": "ask-1"})
    where = ("--data-dir", str(tmp_path / "data"))
    table = command("usage", *where, cwd=tmp_path)
    lines = command("usage", *where, "--json", cwd=tmp_path)
    rows = command("usage", *where, "--csv", cwd=tmp_path)
    assert "1 turns" in table.stdout
    assert json.loads(lines.stdout)["request_id"].startswith("ask-1.")
    assert len(rows.stdout.splitlines()) == 2


async def test_usage_counts_no_turn_for_what_belonged_to_none(tmp_path: Path) -> None:
    async with served(tmp_path / "data") as server, httpx.AsyncClient(trust_env=False) as http:
        await http.post(f"{server.url}/v1/chat", json={"prompt": "hi"})
        path = server.application.settings.ledger_path
    ledger = SqliteLedger(path)
    try:
        (turn,) = read_all(ledger, UsageQuery())
        stray = "ses_1:unclaimed"
        ledger.append(
            [replace(turn, request_id=stray, event_id=event_id(turn.tenant_id, stray), breaches={"egress": "none"})]
        )
    finally:
        ledger.close()
    table = command("usage", "--data-dir", str(tmp_path / "data"), cwd=tmp_path)
    assert "1 turns" in table.stdout
    assert "no turn" in table.stdout
    assert "egress" in table.stdout


def test_usage_without_a_ledger_is_told(tmp_path: Path) -> None:
    done = command("usage", "--data-dir", str(tmp_path / "none"), cwd=tmp_path)
    assert done.returncode == 1
    assert "Nothing was used yet" in done.stderr
