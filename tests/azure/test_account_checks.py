"""What ``doctor`` says of accounts elsewhere: end to end where they work, and in plain words where they do not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from azure.emulator_process import EmulatorProcess, azure_emulator
from clients.chat_endpoint import chat_endpoint

from server.cli import account_checks
from server.cli.account_checks import examine_accounts
from server.cli.azure_round_trip import PHRASE
from server.cli.findings import Finding
from server.settings import Settings, load_settings

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")

KEY, THEIRS = "azure-canary-own-1f40", "azure-canary-theirs-77aa"
API_KEY = "api-canary-of-the-school"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def service() -> Iterator[EmulatorProcess]:
    with azure_emulator("--key", KEY, "--say", PHRASE) as emulator:
        yield emulator


@pytest.fixture
def settings_of(service: EmulatorProcess) -> Iterator[Callable[..., Settings]]:
    def chosen(**more: object) -> Settings:
        return load_settings(azure={"host": service.ws_url, "key": KEY}, **more)

    service.reset()
    yield chosen
    service.heal()


async def only(settings: Settings) -> Finding:
    (finding,) = await examine_accounts(settings)
    return finding


async def test_an_account_that_works_is_measured_end_to_end(settings_of: Callable[..., Settings]) -> None:
    finding = await only(settings_of())
    assert (finding.what, finding.verdict, finding.mend) == ("azure speech", "ok", "")
    assert PHRASE in finding.found
    assert set(finding.figures) == {"reached_ms", "connected_ms", "first_audio_ms", "final_ms"}
    assert all(figure >= 0 for figure in finding.figures.values())


async def test_every_tenants_account_is_looked_at_and_no_key_is_told(settings_of: Callable[..., Settings]) -> None:
    host = settings_of().azure.host
    tenant = {"id": "school", "api_keys": [API_KEY], "azure": {"host": host, "key": THEIRS}}
    own, theirs = await examine_accounts(settings_of(tenants=[tenant]))
    assert (own.verdict, theirs.verdict) == ("ok", "wrong")
    assert theirs.what == "azure speech of school"
    assert "refuses the key (401)" in theirs.found
    assert "azure of the tenant school.key" in theirs.mend
    for secret in (KEY, THEIRS, API_KEY):
        assert secret not in repr((own, theirs))


@pytest.mark.parametrize(
    ("preset", "words", "mend"),
    [
        ("unauthorized", "refuses the key (401)", "azure.region"),
        ("forbidden", "refuses this account (403)", "network rules"),
        ("not-found", "no speech service at this address (404)", "azure.endpoint"),
        ("throttled", "quota is used up (429)", "free tier"),
        ("bad-request", "does not have what the settings ask for (400)", "azure.voice"),
        ("unavailable", "in trouble itself", "outages"),
        ("no-upgrade", "does not answer in time", "network"),
    ],
)
async def test_what_is_wrong_is_said_in_plain_words_with_how_to_mend_it(
    preset: str, words: str, mend: str, service: EmulatorProcess, settings_of: Callable[..., Settings]
) -> None:
    settings = settings_of()
    await to_thread.run_sync(lambda: service.inject(preset=preset))
    finding = await only(settings)
    assert finding.verdict == "wrong"
    assert words in finding.found, finding.found
    assert mend in finding.mend
    assert KEY not in repr(finding)


async def test_speech_that_is_recognised_as_something_else_is_worth_a_note() -> None:
    with azure_emulator("--say", "Something else entirely.") as service:
        finding = await only(load_settings(azure={"host": service.ws_url, "key": KEY}))
    assert finding.verdict == "note"
    assert "Something else entirely." in finding.found


async def test_a_host_that_is_not_there_and_a_name_nobody_knows_are_told_apart() -> None:
    gone = await only(load_settings(azure={"host": "ws://127.0.0.1:9", "key": KEY}))
    assert "127.0.0.1:9 cannot be reached: no connection" in gone.found
    assert "firewall" in gone.mend
    unknown = await only(load_settings(azure={"host": "ws://nowhere.invalid", "key": KEY}))
    assert unknown.verdict == "wrong"
    assert "nowhere.invalid:80 cannot be reached" in unknown.found


async def test_without_its_software_that_is_said(
    settings_of: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.cognitiveservices.speech", None)
    finding = await only(settings_of())
    assert "not installed" in finding.found
    assert "--extra azure" in finding.mend


async def test_the_models_endpoint_is_asked_for_its_first_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_endpoint() as endpoint:
        finding = await only(load_settings(model={"base_url": endpoint.base_url, "model": "m", "api_key": "k"}))
    assert finding.what == "model endpoint"
    assert finding.verdict in {"ok", "note"}
    assert finding.figures["first_token_ms"] >= 0
    monkeypatch.setattr(account_checks, "MODEL_LIMIT_S", 5.0)
    gone = await only(load_settings(model={"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key": "k"}))
    assert gone.verdict == "wrong"


def test_where_there_is_no_account_there_is_nothing_to_find() -> None:
    assert anyio.run(examine_accounts, load_settings()) == []
