"""The settings' section about latency: where it comes from, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.core.budget import Permission
from agents.core.budget_profiles import profile
from server.settings import SettingsError, load_settings

ELSEWHERE = {"base_url": "http://127.0.0.1:9/v1", "model": "any"}
ACCOUNT = {"host": "ws://127.0.0.1:9", "key": "azure-key"}
TENANT = {"id": "school", "api_keys": ["a-key-of-the-school-1"]}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(latency: dict[str, Any], **more: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(latency=latency, **more)
    return "\n".join(caught.value.problems)


def test_by_default_budgets_are_the_profiles_and_enforced() -> None:
    latency = load_settings().latency
    assert (latency.profile, latency.enforce, latency.speculate) == ("auto", True, True)
    assert latency.permission == Permission(0.5, 3.0)
    assert latency.budget("azure", None, "azure") is profile("azure")


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        ({"profile": "fast"}, "latency.profile: input should be 'auto', 'embedded'"),
        ({"stages": {"lunch": {"deadline_ms": 1}}}, "latency.stages.lunch: input should be 'connect'"),
        ({"stages": {"agent": {"limit_ms": 5}}}, "no setting called latency.stages.agent.limit_ms"),
        ({"stages": {"agent": {"deadline_ms": "soon"}}}, "latency.stages.agent.deadline_ms: input should be a valid"),
        ({"stages": {"agent": {"deadline_ms": 0}}}, "latency: agent: 0 < target_ms <= deadline_ms <= 60000"),
        ({"stages": {"stt": {"on_breach": ["hedge"]}}}, "latency: stt.on_breach: hedge is not possible here"),
        ({"stages": {"stt": {"on_breach": ["hurry"]}}}, "latency.stages.stt.on_breach.0: input should be"),
        ({"stages": {"total": {"deadline_ms": 300}}}, "total.deadline_ms is less than the targets of its stages"),
        ({"tightest": 1.5}, "latency.tightest: input should be less than or equal to 1"),
        ({"loosest": 0.5}, "latency.loosest: input should be greater than or equal to 1"),
        ({"rules": [{"locale": "de"}]}, "latency.rules.0: a latency rule must say profile or stages"),
        ({"rules": [{"locale": "de_DE", "profile": "azure"}]}, "not a language range"),
        ({"rules": [{"tenant": "nobody", "profile": "azure"}]}, "latency.rules: there is no tenant called nobody"),
        ({"rules": [{"agent": "nobody", "profile": "azure"}]}, "latency.rules: there is no agent called nobody"),
        (
            {"rules": [{"profile": "azure"}, {"profile": "azure", "stages": {"tts": {"on_breach": ["hedge"]}}}]},
            "latency.rules.1: tts.on_breach: hedge is not possible here",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_at_start_in_a_sentence(latency: dict[str, Any], words: str) -> None:
    assert words in refusal(latency, tenants=[TENANT])


def test_times_are_checked_against_the_profile_they_are_meant_for() -> None:
    tight = {"stages": {"total": {"deadline_ms": 1_300}}}
    assert load_settings(latency=tight).latency.stages["total"].deadline_ms == 1_300
    assert "azure: total.deadline_ms is less than" in refusal(tight, model=ELSEWHERE)
    assert "azure: total.deadline_ms is less than" in refusal(tight, tenants=[TENANT | {"azure": ACCOUNT}])
    assert load_settings(latency=tight | {"profile": "embedded"}, model=ELSEWHERE)


def test_stages_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVERGIO_LATENCY__STAGES__AGENT__DEADLINE_MS", "900")
    monkeypatch.setenv("CONVERGIO_LATENCY__STAGES__AGENT__ON_BREACH", "filler, apologize")
    monkeypatch.setenv("CONVERGIO_LATENCY__SPECULATE", "false")
    latency = load_settings().latency
    stage = latency.stages["agent"]
    assert (stage.deadline_ms, stage.on_breach, latency.speculate) == (900, ("filler", "apologize"), False)


def test_stages_and_rules_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "convergio.toml"
    file.write_text(
        """
        [latency]
        profile = "azure"
        [latency.stages.agent]
        deadline_ms = 700
        [[latency.rules]]
        locale = "de"
        stages = { tts = { on_breach = ["text_only"] } }
        """
    )
    latency = load_settings(file).latency
    budget = latency.budget("azure", latency.rules[0], "azure")
    assert budget.stages["agent"].deadline_ms == 700
    assert budget.stages["tts"].on_breach == ("text_only",)
    assert budget.version.startswith("1+")
