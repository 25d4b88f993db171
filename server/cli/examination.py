"""What ``doctor`` looks at: Python, settings, data directory, ledger and prices, vault, port, page, microphone,
accounts, engines.

Each check is a function from the settings to findings; none changes anything but a probe file it removes. Engines
are really loaded, because nothing less tells whether they work.
"""

from __future__ import annotations

import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from metering.errors import LedgerError, PriceSheetError
from metering.ledger import UsageQuery
from server.cli.account_checks import examine_accounts
from server.cli.findings import Finding
from server.cli.vault_check import examine_vault
from server.engine_rules import Asked
from server.engines import EngineSet, StageReport
from server.latency_choice import LatencyChoice
from server.ledgers import open_ledger, price_book
from server.routes.page import page_directory
from server.sessions.voice_options import DEFAULT_LOCALE
from server.settings import DEFAULT_CONFIG_FILE, Settings, SettingsError, load_settings
from server.speech_settings import AGENT_ID
from server.tenant_settings import DEFAULT_TENANT

SUPPORTED: Final = ((3, 11), (3, 13))
MIN_FREE_BYTES: Final = 100 * 1024 * 1024


async def examine(config: Path | None) -> list[Finding]:
    """Every check, in the order in which they build on each other."""
    findings = [_python()]
    try:
        settings = load_settings(config)
    except SettingsError as error:
        return [*findings, *(Finding("settings", "wrong", problem, "Mend the setting.") for problem in error.problems)]
    findings.append(Finding("settings", "ok", "valid"))
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _keys,
        _budget,
        _data_directory,
        _ledger,
        examine_vault,
        _port,
        _page,
        _microphone,
    )
    findings.extend(check(settings) for check in checks)
    findings += await examine_accounts(settings)
    return [*findings, *await _engines(settings)]


def _python() -> Finding:
    version = sys.version.split()[0]
    if SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        return Finding("python", "ok", version)
    return Finding("python", "wrong", f"{version} is not supported", "Install Python 3.11, 3.12 or 3.13; make setup.")


def _keys(settings: Settings) -> Finding:
    files = [path for path in (DEFAULT_CONFIG_FILE,) if path.is_file()]
    model_keys = [place.api_key for place in (settings.model, *settings.model.fallback) if place.api_key]
    holds_secrets = bool(settings.keys or model_keys or settings.azure.key)
    for path in files:
        if holds_secrets and stat.S_IMODE(path.stat().st_mode) & 0o077:
            return Finding("keys", "note", f"{path} can be read by other users", f"chmod 600 {path}")
    keyless = settings.model.api_key is None and not settings.model.managed_identity
    if settings.model.kind == "openai" and keyless:
        return Finding(
            "keys", "note", "no key for the model's endpoint", "Set model.api_key if the endpoint wants one."
        )
    where = "in the settings" if settings.keys else "in the database (convergio-voice keys list)"
    return Finding("keys", "ok", f"wanted, {where}" if settings.guarded else "none needed: this machine only")


def _budget(settings: Settings) -> Finding:
    choice = LatencyChoice(settings)
    budget = choice.operators(Asked(DEFAULT_TENANT, AGENT_ID, DEFAULT_LOCALE))
    measured = "" if choice.enforced else ", not enforced"
    return Finding("latency budget", "ok", f"{budget.name} {budget.version}{measured}")


def _data_directory(settings: Settings) -> Finding:
    path = settings.data_dir
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"probe")
    except OSError as error:
        mend = "Choose a directory you may write: --data-dir, or data_dir in the settings."
        return Finding("data directory", "wrong", f"{path}: {error.strerror}", mend)
    free = shutil.disk_usage(path).free
    if free < MIN_FREE_BYTES:
        return Finding(
            "data directory", "note", f"{path}: only {free // 1_048_576} MB free", "Make room for the ledger."
        )
    return Finding("data directory", "ok", str(path))


def _ledger(settings: Settings) -> Finding:
    where = "SQLite" if settings.ledger.url is None else "PostgreSQL"
    try:
        price_book(settings)
        if settings.ledger.url is not None:
            ledger = open_ledger(settings)
            try:
                ledger.totals(UsageQuery())
            finally:
                ledger.close()
    except (LedgerError, SettingsError) as error:
        return Finding("ledger", "wrong", str(error), "Is the database there, and ledger.url right?")
    except PriceSheetError as error:
        return Finding("ledger", "wrong", str(error), "Mend the sheet: convergio-voice price check")
    return Finding("ledger", "ok", where)


def _port(settings: Settings) -> Finding:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    where = f"{settings.host}:{settings.port}"
    try:
        with socket.create_server((settings.host, settings.port), family=family):
            return Finding("port", "ok", f"{where} is free")
    except OSError as error:
        mend = f"Is the server running already? Another port: convergio-voice serve --port {settings.port + 1}"
        return Finding("port", "wrong", f"{where}: {error.strerror}", mend)


def _page(_settings: Settings) -> Finding:
    directory = page_directory()
    if directory is None:
        return Finding("page", "note", "the browser page is not installed", "Reinstall, or run from a checkout.")
    return Finding("page", "ok", str(directory))


def _microphone(_settings: Settings) -> Finding:
    try:
        sounddevice: Any = import_module("sounddevice")
    except ImportError:
        mend = "Only for talk --mic: uv sync --inexact --extra microphone"
        return Finding("microphone", "note", "not set up for the terminal (the page does not need it)", mend)
    except OSError:
        mend = "Only for talk --mic: sudo apt-get install libportaudio2"
        return Finding("microphone", "note", "the PortAudio library is missing", mend)
    try:
        device: Any = sounddevice.query_devices(kind="input")
    except (ValueError, sounddevice.PortAudioError):
        return Finding("microphone", "note", "no input device", "Only for talk --mic: plug in a microphone.")
    return Finding("microphone", "ok", str(device["name"]))


async def _engines(settings: Settings) -> list[Finding]:
    engines = EngineSet(settings)
    try:
        await engines.load()
        return [_engine(report) for report in engines.reports]
    finally:
        await engines.aclose()


def _engine(report: StageReport) -> Finding:
    if report.status == "ready":
        return Finding(report.stage, "ok", report.words)
    # A stage that is missing is not done at all; a degraded one only makes the conversation poorer.
    verdict: Literal["note", "wrong"] = "note" if report.status == "degraded" else "wrong"
    found, _, mend = (report.reason or report.words).partition(" Mend: ")
    return Finding(report.stage, verdict, found, mend)
