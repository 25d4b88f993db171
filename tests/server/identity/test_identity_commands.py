"""``convergio-voice keys``, ``tenants``, ``users`` and ``audit`` on a server's own database; and the first key of a
server that others can reach: told once, on a terminal or in a file, and in no log."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from rich.console import Console

from metering.records import Records
from server.cli.first_key import first_key
from server.cli.main import cli
from server.cli.main import run as run_command
from tests.scripted_server import Served, served

KEY_CHARS = 57


def run(data_dir: Path, *arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--data-dir", str(data_dir)], input=typed)


def lines(done: Result) -> list[dict[str, object]]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.output.splitlines()]


def test_tenants_users_and_keys_are_made_listed_and_ended(tmp_path: Path) -> None:
    assert run(tmp_path, "tenants", "create", "school", "--type", "school").exit_code == 0
    made = run(
        tmp_path, "users", "create", "--tenant", "school", "--name", "Ada", "--login", "ada", typed="0123456789\n"
    )
    user_id = made.output.split()[0]
    key = run(tmp_path, "keys", "create", "--tenant", "school", "--name", "app", "--user", user_id, "--expires", "30d")
    assert key.stdout.startswith("cv_live_")
    assert len(key.stdout.strip()) == KEY_CHARS
    (listed,) = lines(run(tmp_path, "keys", "list", "--json"))
    assert (listed["user_id"], listed["role"]) == (user_id, "member")
    assert key.stdout.strip() not in json.dumps(listed)
    assert run(tmp_path, "keys", "revoke", str(listed["key_id"])).exit_code == 0
    assert lines(run(tmp_path, "keys", "list", "--json")) == []
    for arguments in (("role", user_id, "admin"), ("disable", user_id), ("enable", user_id)):
        assert run(tmp_path, "users", *arguments).exit_code == 0
    assert run(tmp_path, "users", "password", user_id, typed="another password\n").exit_code == 0
    (user,) = lines(run(tmp_path, "users", "list", "--json"))
    assert (user["role"], user.get("disabled_at_ms")) == ("admin", None)
    assert {row["tenant_id"] for row in lines(run(tmp_path, "tenants", "list", "--json"))} == {"default", "school"}
    actions = [row["action"] for row in lines(run(tmp_path, "audit", "list", "--json"))]
    assert actions[:4] == ["tenant.created", "user.created", "api_key.created", "api_key.revoked"]
    assert "api_key.revoked" in run(tmp_path, "audit", "list").output
    assert run(tmp_path, "audit", "verify").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keys", "create", "--name", "k", "--permission", "fly"), "no permission fly"),
        (("keys", "create", "--name", "k", "--expires", "soon"), "not a span"),
        (("keys", "create", "--name", "k", "--tenant", "nobody"), "no such tenant"),
        (("keys", "revoke", "key_none"), "no such key"),
        (("users", "create", "--name", "A", "--login", "a"), "at least 10 characters"),
        (("tenants", "create", "Not-An-Id", "--type", "school"), "small letters"),
        (("tenants", "disable", "default"), "stands in the settings"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_a_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run(tmp_path, *arguments, typed="short\n")
    assert done.exit_code == 1
    assert words in done.output


def test_a_row_that_was_changed_behind_the_logs_back_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "three"):
        run(tmp_path, "tenants", "create", name, "--type", "business")
    records = Records.in_file(tmp_path / "records.sqlite3")
    with records.write() as connection:
        connection.execute(sa.text("DROP TRIGGER audit_log_no_update"))
        connection.execute(sa.text("UPDATE audit_log SET actor_id = 'somebody' WHERE sequence = 2"))
    records.close()
    assert run_command(["audit", "verify", "--data-dir", str(tmp_path)]) == 1
    assert "Row 2" in capsys.readouterr().err


class Screen(io.StringIO):
    """What a person or a log gets to read."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


async def told(server: Served, screen: Screen) -> str:
    host = server.application.host
    out = Console(file=screen, force_terminal=screen.isatty(), no_color=True, width=40)
    await first_key(out, host.settings, host.offices.identity)
    return screen.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
async def test_the_first_key_is_told_once_on_a_terminal_or_in_a_file_for_its_user_alone(
    tmp_path: Path, terminal: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "first-key"
    async with served(tmp_path, identity={"require_keys": True}) as server:
        shown = await told(server, Screen(terminal=terminal))
        if terminal:
            key = next(word for word in shown.split() if word.startswith("cv_live_"))
            assert not path.exists()
        else:
            key = path.read_text().strip()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert key not in shown
            assert str(path) in shown
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            assert (await http.get("/v1/me")).status_code == httpx.codes.UNAUTHORIZED
            me = (await http.get("/v1/me", headers={"Authorization": f"Bearer {key}"})).json()
        assert "operate" in me["permissions"]
        path.unlink(missing_ok=True)
        assert await told(server, Screen(terminal=terminal)) == "", "there is a key already"
        assert not path.exists()
    assert files_with(tmp_path, key) == []
    assert key not in caplog.text


def files_with(directory: Path, word: str) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.mark.parametrize("settings", [{}, {"api_keys": ["a-long-random-secret"]}], ids=["demo", "keys"])
async def test_a_server_that_somebody_can_enter_makes_no_key(tmp_path: Path, settings: dict[str, Any]) -> None:
    async with served(tmp_path, **settings) as server:
        assert await told(server, Screen(terminal=True)) == ""
