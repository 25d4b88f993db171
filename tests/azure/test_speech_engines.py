"""Engines lent to sessions, with the genuine SDK: shared, told apart, and given up when nobody uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from azure.azure_engines import flat, natives
from azure.emulator_process import EmulatorProcess, azure_emulator

from audio.inference import InferencePool
from audio.stt.fallback import FallbackSpeechToText
from audio.tts.fallback import FallbackTextToSpeech
from server.contracts.errors import ErrorCode
from server.engine_rules import Asked
from server.errors import Refused
from server.settings import load_settings
from server.speech_engines import SpeechEngines, SpeechLease

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")

ITALIAN = "it-IT-ElsaNeural"
SCHOOL, CLINIC = (Asked(tenant, "assistant", "en-US") for tenant in ("school", "clinic"))


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def service() -> Iterator[EmulatorProcess]:
    with azure_emulator("--say", "Hello.") as emulator:
        yield emulator


@asynccontextmanager
async def engines_on(service: EmulatorProcess, **limits: Any) -> AsyncIterator[SpeechEngines]:
    tenants = [
        {"id": name, "api_keys": [f"an-api-key-of-{name}"], "azure": {"host": service.ws_url, "key": f"key-{name}"}}
        for name in ("school", "clinic")
    ]
    rules = [
        {"locale": "it", "stt": ["azure"], "languages": ["it-IT", "en-US"], "tts": ["azure"], "voice": ITALIAN},
        {"locale": "fi", "stt": ["azure"], "tts": ["azure"], "voice": ITALIAN},
        {"stt": ["azure"], "tts": ["azure"]},
    ]
    settings = load_settings(tenants=tenants, engine_rules=rules, limits=limits)
    async with InferencePool(workers=2) as pool:
        engines = SpeechEngines(settings, pool)
        try:
            yield engines
        finally:
            await engines.aclose()


def parts(lease: SpeechLease) -> set[int]:
    """The engines behind a lease, by identity."""
    assert isinstance(lease.stt, FallbackSpeechToText)
    assert isinstance(lease.tts, FallbackTextToSpeech)
    return {id(each.engine) for each in (*lease.stt._engines, *lease.tts._engines)}


async def test_sessions_of_a_tenant_share_engines_and_tenants_share_none(service: EmulatorProcess) -> None:
    async with engines_on(service) as engines:
        first, second = await engines.lease(SCHOOL), await engines.lease(SCHOOL)
        other = await engines.lease(CLINIC)
        assert parts(first) == parts(second)
        assert not parts(first) & parts(other)
        assert engines.accounts.tenants == 2


async def test_what_differs_gets_an_engine_of_its_own_and_what_nobody_knows_is_said(service: EmulatorProcess) -> None:
    async with engines_on(service) as engines:
        english = await engines.lease(SCHOOL)
        italian = await engines.lease(Asked("school", "assistant", "it-CH"))
        finnish = await engines.lease(Asked("school", "assistant", "fi-FI"))
        assert italian.tts is not None
        assert italian.tts.profile.model == ITALIAN
        assert not parts(english) & parts(italian)
        assert finnish.stt is not None, "Azure recognises it"
        assert (finnish.tts, finnish.missing) == (
            None,
            {"tts": "No voice here speaks fi-FI; answers come as text."},
        )
        nobody = await engines.lease(Asked("default", "assistant", "en-US"))
        assert (nobody.stt, nobody.tts) == (None, None), "neither an account nor another engine"
        assert engines.accounts.tenants == 1


async def test_more_tenants_than_there_is_room_for_are_refused_until_one_leaves(service: EmulatorProcess) -> None:
    async with engines_on(service, max_tenant_accounts=1) as engines:
        lease = await engines.lease(SCHOOL)
        with pytest.raises(Refused) as refused:
            await engines.lease(CLINIC)
        assert refused.value.code is ErrorCode.SERVER_OVERLOADED
        lease.give_back()
        lease.give_back()
        await engines.lease(CLINIC)
        assert engines.accounts.tenants == 1


async def test_an_account_nobody_uses_gives_back_its_connections_and_threads(service: EmulatorProcess) -> None:
    async with engines_on(service, account_idle_s=1) as engines:
        await to_thread.run_sync(service.reset)
        before = natives()
        lease = await engines.lease(SCHOOL)
        assert engines.room.used > 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engines.accounts.tend)
            lease.give_back()
            with anyio.fail_after(20):
                while engines.accounts.tenants or engines.room.used:  # noqa: ASYNC110 - nobody tells
                    await anyio.sleep(0.02)
            tasks.cancel_scope.cancel()
        await to_thread.run_sync(lambda: service.wait(lambda state: state["open"] == 0))
        await flat(before)
        again = await engines.lease(SCHOOL)
        assert again.stt is not None, "made anew for who comes later"
        again.give_back()
