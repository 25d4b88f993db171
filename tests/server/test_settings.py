"""The settings: where they come from, what is refused and in which words, and what never shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.settings import Settings, SettingsError, load_settings

KEY = "a-long-random-secret"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def problems_of(config_file: Path | None = None, **overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(config_file, **overrides)
    return "\n".join(caught.value.problems)


def test_the_defaults_are_a_server_for_this_machine_alone() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.loopback) == ("127.0.0.1", 8080, True)
    assert settings.model.kind == "embedded"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "voice.example.org", "192.168.1.4"])
def test_a_host_others_can_reach_is_guarded_with_or_without_keys_in_the_settings(host: str) -> None:
    for settings in (load_settings(host=host, api_keys=(KEY,)), load_settings(host=host)):
        assert (settings.loopback, settings.guarded) == (False, True)


def test_this_machine_alone_is_guarded_where_that_is_asked_for() -> None:
    assert load_settings().guarded is False
    assert load_settings(api_keys=(KEY,)).guarded is True
    assert load_settings(identity={"require_keys": True}).guarded is True


def test_short_keys_are_refused() -> None:
    assert "at least 16 characters" in problems_of(api_keys=("short",))


def test_every_fault_is_a_sentence_of_its_own() -> None:
    words = problems_of(port=99_999, limits={"max_sessions": 0})
    assert "port: input should be less than or equal to 65535." in words
    assert "limits.max_sessions: input should be greater than or equal to 1." in words


def test_a_misspelt_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVERGIO_PROT", "9000")
    assert "CONVERGIO_PROT is not a setting" in problems_of()


def test_a_misspelt_nested_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVERGIO_LIMITS__MAX_SESIONS", "3")
    assert "no setting called limits.max_sesions" in problems_of()


def test_overrides_win_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "convergio.toml"
    file.write_text('port = 1001\n[limits]\nmax_sessions = 11\nsession_minutes = 12\n[log]\nlevel = "error"\n')
    monkeypatch.setenv("CONVERGIO_PORT", "1002")
    monkeypatch.setenv("CONVERGIO_LIMITS__MAX_SESSIONS", "22")
    settings = load_settings(None, port=1003)
    assert settings.port == 1003
    assert (settings.limits.max_sessions, settings.limits.session_minutes) == (22, 12)
    assert settings.log.level == "error"


def test_a_file_that_is_missing_or_broken_is_told(tmp_path: Path) -> None:
    assert "does not exist" in problems_of(tmp_path / "no.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("port = = 3")
    assert "cannot be read" in problems_of(broken)


def test_lists_in_the_environment_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVERGIO_API_KEYS", f"{KEY}-1, {KEY}-2")
    assert len(load_settings().api_keys) == 2


def test_an_endpoint_needs_a_model() -> None:
    assert "model.model must name the model" in problems_of(model={"base_url": "http://localhost:11434/v1"})


def test_secrets_never_show_and_never_appear_in_faults() -> None:
    settings = load_settings(api_keys=(KEY,), model={"api_key": "sk-model-secret", "model": "m"})
    assert KEY not in repr(settings)
    assert "sk-model-secret" not in repr(settings) + str(settings.model_dump())
    assert "tiny" not in problems_of(api_keys=("tiny",))


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_the_example_file_is_valid_and_changes_nothing() -> None:
    example = Path(__file__).parents[2] / "convergio.example.toml"
    assert load_settings(example) == load_settings()


def test_the_example_file_shows_every_setting_with_its_default(tmp_path: Path) -> None:
    example = (Path(__file__).parents[2] / "convergio.example.toml").read_text()
    uncommented = tmp_path / "all.toml"
    uncommented.write_text("\n".join(line.removeprefix("#: ") for line in example.splitlines()))
    shown = load_settings(uncommented)
    plain = load_settings()
    for name, field in Settings.model_fields.items():
        assert name in example
        section = field.annotation
        for inner in getattr(section, "model_fields", {}):
            assert f"{inner} = " in example, f"{name}.{inner}"
    assert shown.limits == plain.limits
    assert shown.log == plain.log
