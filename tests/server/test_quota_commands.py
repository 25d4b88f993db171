"""Limits on the command line: set, shown, refused for a tenant nobody knows; signed in the audit log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from server.cli import quotas
from server.cli.main import run
from server.offices import open_records
from server.settings import load_settings


def test_limits_are_set_and_shown_and_nothing_else_is_made(tmp_path: Path) -> None:
    where = ["--data-dir", str(tmp_path)]
    done = CliRunner().invoke(quotas.command, ["set", "tenant", "daily", "audio_s", "600", *where])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(quotas.command, ["override", "--minutes", "5", "--reason", "a lesson", *where])
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(quotas.command, ["show", "--json", *where])
    (item,) = json.loads(shown.output)["budgets"]
    assert (item["measure"], item["limit"], item["ends_at_percent"]) == ("audio_s", "600", 150)
    records = open_records(load_settings(data_dir=tmp_path))
    with records.read() as connection:
        told = connection.execute(sa.text("SELECT action, actor_id FROM audit_log ORDER BY sequence")).all()
    records.close()
    assert [tuple(row) for row in told] == [("budget.limits_changed", "cli"), ("budget.override_given", "cli")]
    assert not (tmp_path / "vault.key").exists(), "no key is made for a question about budgets"


def test_a_tenant_that_nobody_knows_gets_no_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--data-dir", str(tmp_path), "--tenant", "shcool"]
    assert run(["quotas", "set", "tenant", "daily", "turns", "5", *where]) == 1
    assert "There is no such tenant." in capsys.readouterr().err
    assert run(["quotas", "override", "--minutes", "5", "--reason", "a lesson", *where]) == 1
    assert "There is no such tenant." in capsys.readouterr().err
