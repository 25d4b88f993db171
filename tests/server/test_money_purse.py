"""A purse on its own: what it reserves while speech comes too fast, and in which words it says what is used up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from metering.budgets.limits import Amounts, Whose
from metering.budgets.store import Entry, Settlement
from metering.memory import MemoryLedger, MemoryRecorder
from metering.records import Records
from metering.usage import StageProvider
from server.audit import AuditEntry
from server.budgets import purse as purse_module
from server.budgets.prices import Chain
from server.budgets.purse import PurseOf, SessionPurse
from server.budgets.rules import LimitChange
from server.budgets.service import Budgets
from server.guard import OPERATOR_AT_TERMINAL
from server.offices import AREAS, Offices
from server.settings import load_settings
from tests.scripted_server import eventually

NOW_MS = 1_790_000_000_000
ADA = Whose("acme", "ada")
HEARD = Chain((StageProvider("whisper", "base.en"),), (), ())
FRAME = 1_600


def daily(measure: str, amount: str) -> dict[str, str]:
    return {"scope": "tenant", "period": "daily", "measure": measure, "amount": amount}


@asynccontextmanager
async def office(tmp_path: Path, **given: Any) -> AsyncGenerator[Budgets]:
    """The office of budgets at work."""
    records = Records.in_file(tmp_path / "records.sqlite3")
    records.migrate(AREAS)
    budgets = Offices(load_settings(data_dir=tmp_path, budgets=given), records, lambda: NOW_MS).budgets
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(budgets.run, MemoryLedger())
            await eventually(lambda: budgets._tasks is not None, 20)
            yield budgets
            tasks.cancel_scope.cancel()
    finally:
        records.close()


async def listening(budgets: Budgets) -> SessionPurse:
    purse = SessionPurse(budgets, PurseOf(ADA, "byok", HEARD, HEARD), MemoryRecorder())
    await purse.prepare()
    return purse


async def hear(purse: SessionPurse, seconds: int) -> bool:
    """Whether the last of so much speech could be afforded, each tenth of a second with time to reserve more."""
    affordable = True
    for _ in range(seconds * 10):
        affordable = purse.affords(FRAME)
        await eventually(lambda: not purse._asking, 20)
    return affordable


async def test_speech_that_comes_too_fast_does_not_reserve_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purse_module, "RETRY_S", 0.0)
    async with office(tmp_path, limits=[daily("audio_s", "600")], bursts={"audio_s_per_minute": 2}) as budgets:
        purse = await listening(budgets)
        assert not await hear(purse, 6)
        assert purse.denied is not None
        assert purse.denied.code == "rate.limited"
        assert not purse.thrifty
        (standing,) = await budgets.standing("acme", "ada")
        assert standing.reserved == budgets.settings.turn_audio_s * 1_000


async def test_a_quota_of_speech_is_refused_in_the_words_of_the_interface_until_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purse_module, "RETRY_S", 0.0)
    async with office(tmp_path, limits=[daily("audio_s", "10")]) as budgets:
        purse = await listening(budgets)
        assert purse.denied is not None
        assert purse.denied.details == {"scope": "tenant", "period": "daily", "measure": "audio_s"}
        assert not await hear(purse, 1)
        more = LimitChange("tenant", "", "day", "audio_ms", 600_000)
        await budgets.rules.change((more,), AuditEntry(OPERATOR_AT_TERMINAL, "budget.limits_changed", "acme"))
        assert await hear(purse, 1)
        assert purse.denied is None


async def test_a_purse_knows_the_same_state_as_reports_where_the_end_is_no_whole_amount(tmp_path: Path) -> None:
    async with office(tmp_path, limits=[daily("turns", "7")]) as budgets:
        purse = SessionPurse(budgets, PurseOf(ADA, "byok", HEARD, HEARD), MemoryRecorder())
        (need,) = budgets.needs(await budgets.rules.of("acme"), ADA, "byok", Amounts(turns=1))
        assert (need.cap, need.ends_at_percent) == (7, 110)
        await budgets.store.settle("", Settlement([Entry("e", {need.account: 7}, NOW_MS)]))
        await budgets.desk.learn([need.account])
        (standing,) = await budgets.standing("acme", "ada")
        assert standing.state == purse._state_of(need) == "thrifty"
