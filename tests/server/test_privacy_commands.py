"""``convergio-voice privacy``: the same as the API, on this machine's databases and through a running server."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from click.testing import CliRunner, Result

from server.cli.main import cli
from server.conversations.wave_file import WaveFile
from tests.scripted_server import Served, served


async def conversed(directory: Path, *words: str) -> None:
    async with served(directory) as server, http_of(server) as http:
        for each in words:
            await http.post("/v1/chat", json={"prompt": each})


def http_of(server: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20)


async def run(directory: Path, *arguments: str) -> Result:
    given = ["privacy", "--data-dir", str(directory), *arguments]
    return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(cli, given))


async def test_the_sound_of_a_conversation_is_written_into_a_file(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "call.wav"
    async with served(data) as server, http_of(server) as http:
        for words in ("recorded", "not recorded"):
            await http.post("/v1/chat", json={"prompt": words})
        assert await server.application.host.offices.privacy.scribe.flush(10)
        silent, recorded = (each["session_id"] for each in (await http.get("/v1/sessions")).json()["conversations"])
        recordings = server.application.host.offices.privacy.recordings
        recording = await recordings.begin(recorded, "local", "consent_1", 8_000)
        assert recording is not None
        file = WaveFile(recordings.path(recording), 8_000, 0)
        file.append(bytes(32_000))
        await recordings.finish(recording, *file.close(), "over")
        sound = recordings.path(recording).read_bytes()
    listed = (await run(data, "conversations")).output.splitlines()
    assert [line.endswith("  recorded") for line in listed] == [False, True]
    wanted = ("conversations", "--recording", recorded, "--output", str(target))
    written = await run(data, *wanted)
    assert (written.exit_code, written.output) == (0, f"{target}: 32044 bytes\n")
    assert target.read_bytes() == sound
    assert (target.stat().st_mode & 0o777) == 0o600
    assert "is there already" in (await run(data, *wanted)).output
    assert "needs --output" in (await run(data, *wanted[:3])).output
    none = await run(data, "conversations", "--recording", silent, "--output", str(tmp_path / "none.wav"))
    assert (none.exit_code, none.output) == (1, "Error: Nothing of this conversation was recorded.\n")


async def test_a_person_is_exported_held_and_deleted_without_a_server(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "me.zip"
    await conversed(data, "the first words", "the second words")
    listed = await run(data, "conversations")
    assert listed.exit_code == 0, listed.output
    session_id = listed.output.splitlines()[0].split()[1]
    shown = await run(data, "conversations", "--show", session_id)
    assert shown.output == "user: the second words\nagent: You said: the second words.\n"
    exported = await run(data, "export", "--output", str(target))
    assert exported.exit_code == 0, exported.output
    assert (target.stat().st_mode & 0o777) == 0o600
    said = zipfile.ZipFile(target).read("entries.jsonl").splitlines()
    assert {json.loads(line)["text"] for line in said} >= {"the first words", "the second words"}
    again = await run(data, "export", "--output", str(target))
    assert (again.exit_code, "is there already" in again.output) == (1, True)
    hold_id = (await run(data, "hold", "place", "--reason", "a lawsuit")).output.strip()
    refused = await run(data, "delete", "--yes")
    assert refused.exit_code == 1
    assert hold_id in refused.output
    assert "a lawsuit" in (await run(data, "hold", "list")).output
    assert (await run(data, "hold", "lift", hold_id)).exit_code == 0
    deleted = await run(data, "delete", "--yes")
    assert deleted.exit_code == 0, deleted.output
    assert (await run(data, "conversations")).output == ""
    for file in data.rglob("*"):
        if file.is_file():
            assert b"the first words" not in file.read_bytes(), file


async def test_the_policy_is_shown_and_chosen_and_the_rest_of_it_stays(tmp_path: Path) -> None:
    assert "180  default; 1 to 365" in (await run(tmp_path, "policy")).output
    assert "7  chosen" in (await run(tmp_path, "policy", "--conversations", "7")).output
    stored = (await run(tmp_path, "policy", "--no-store", "--json")).output
    assert json.loads(stored)["chosen"] == ["store", "conversation_days"]
    refused = await run(tmp_path, "policy", "--usage", "84")
    assert (refused.exit_code, "may be 12 to 24" in refused.output) == (1, True)
    assert json.loads((await run(tmp_path, "policy", "--default", "--json")).output)["chosen"] == []
    assert (await run(tmp_path, "purge")).output == "Nothing was due.\n"


async def test_beside_a_running_server_the_command_asks_it(tmp_path: Path) -> None:
    async with served(tmp_path) as server, http_of(server) as http:
        await http.post("/v1/chat", json={"prompt": "hello"})
        beside = await run(tmp_path, "delete", "--yes")
        assert beside.exit_code == 1
        assert "--url" in beside.output
        asked = await run(tmp_path, "--url", server.url, "delete", "--yes")
        assert asked.exit_code == 0, asked.output
        assert (await http.get("/v1/sessions")).json()["conversations"] == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense"])
async def test_a_server_that_is_not_there_is_told(tmp_path: Path, url: str) -> None:
    asked = await run(tmp_path, "--url", url, "policy")
    assert (asked.exit_code, "cannot be asked" in asked.output) == (1, True)
