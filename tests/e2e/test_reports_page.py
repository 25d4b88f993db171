"""The usage page in Chromium against a real server: what it tells, to whom, and that everybody can read it."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from browser import chromium, needs_chromium, open_page
from scripted_server import Served, served
from test_page_accessibility import LOW_CONTRAST, OUTSIDE, SMALL_TARGETS
from voice_stub import WEB_DEMO

from metering.identity import event_id
from metering.rollup import DAY_MS
from metering.sqlite_ledger import SqliteLedger
from metering.usage import StageProvider, UsageEvent
from server.guard import Identity
from server.permissions import PERMISSIONS

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, needs_chromium]

KEY = "cv_test_0123456789abcdef"
SHEET = """
schema = 1
provider = "azure"
currency = "EUR"
valid_from = 2020-01-01
status = "confirmed"
source = "a test"
[[price]]
meter = "audio_ms_in"
per = "minute"
price = "0.06"
"""
LIMITS = (
    ("tenant", "month", "money", 2_000_000, 1_640_000, "warned"),
    ("tenant", "day", "audio_ms", 7_200_000, 900, "free"),
)


def turn(number: int, day: int, *, tenant: str = "local", unpriced: bool = False) -> UsageEvent:
    request = f"turn_{number}"
    at = time.time_ns() // 1_000_000 // DAY_MS * DAY_MS - day * DAY_MS
    providers = {"stt": StageProvider("azure", "conversation")}
    if unpriced:
        providers["tts"] = StageProvider("no-sheet", "voice")
    return UsageEvent(
        event_id=event_id(tenant, request),
        request_id=request,
        tenant_id=tenant,
        user_id=f"pupil-{number % 5}",
        session_id=f"ses_{number}",
        agent_id=("class-3b", "class-4a", "reading-club")[number % 3],
        mode="byok",
        started_at=at,
        ended_at=at + 1,
        providers=providers,
        audio_ms_in=60_000 + 7_000 * (number % 11),
        audio_ms_out=45_000,
        audio_ms_synthesized=45_000,
        tts_characters=300 if unpriced else 0,
        output_tokens=0,
        success=number % 9 != 0,
        error_code=None if number % 9 else "provider.timeout",
    )


def record(data_dir: Path, tenant: str = "local", *, unpriced: bool = False) -> None:
    ledger = SqliteLedger(data_dir / "usage.sqlite3")
    turns = [(day * 20 + n, day) for day in range(30) for n in range((day * 7) % 13 + (day == 0) * 4)]
    ledger.append([turn(number, day, tenant=tenant, unpriced=unpriced) for number, day in turns])
    ledger.close()


class Budgets:
    """What the budgets' office answers."""

    prices = SimpleNamespace(currency="EUR")

    async def standing(self, tenant_id: str, user_id: str) -> list[Any]:
        return [
            SimpleNamespace(
                limit=SimpleNamespace(scope=scope, period=period, measure=measure, amount=amount),
                used=used,
                reserved=0,
                percent=used * 100 // amount,
                ends_at_percent=110,
                state=state,
            )
            for scope, period, measure, amount, used, state in LIMITS
        ]


@asynccontextmanager
async def usage_page(
    tmp_path: Path, *, budgets: bool = True, settings: dict[str, Any] | None = None, **context: Any
) -> AsyncGenerator[tuple[Page, Served]]:
    prices = tmp_path / "prices"
    prices.mkdir()
    (prices / "azure.toml").write_text(SHEET)
    chosen = {"ledger": {"price_sheets": str(prices)}} | (settings or {})
    async with served(tmp_path, **chosen) as server, chromium() as browser:
        if budgets:
            server.application.host.offices.budgets = Budgets()  # type: ignore[attr-defined]
        async with open_page(browser, f"{server.url}/usage", **context) as page:
            yield page, server


def contents(path: Path) -> bytes:
    return path.read_bytes()


async def told(page: Page) -> None:
    """Waits until the figures are there."""
    await page.locator("#who table").wait_for()
    await page.locator("#days svg").wait_for(state="attached")


async def test_an_administrator_sees_today_this_month_the_budget_the_days_and_who(tmp_path: Path) -> None:
    record(tmp_path, unpriced=True)
    async with usage_page(tmp_path) as (page, _):
        await told(page)
        today = page.locator(".tile", has_text="Today")
        # four turns: 60 + 67 + 74 + 81 s heard, 4 x 45 s spoken
        assert "7.7 min" in await today.inner_text()
        assert "People spoke 4.7 min, the agent 3.0 min" in await today.inner_text()
        assert "4 turns, 1 of them failed" in await today.inner_text()
        assert "at least €0.28" in await today.inner_text()
        assert "no-sheet voice" in await page.inner_text("#unpriced")
        meter = page.get_by_role("meter", name="Budget: This month, everybody here")
        assert await meter.get_attribute("aria-valuetext") == "€1.64 of €2.00 (82 %), nearly used up"
        assert await page.locator("#days rect").count() == 30
        assert "Minutes talked per day" in await page.inner_text("#days figcaption")
        await page.click("text=These days as a table")
        table = page.get_by_role("table", name="The newest day first")
        assert await table.get_by_role("row").count() == 32
        names = await page.locator("#who tbody th").all_inner_texts()
        assert sorted(names) == ["class-3b", "class-4a", "reading-club"]
        await page.select_option("#by", "user")
        await page.get_by_role("rowheader", name="pupil-3").wait_for()
        await page.select_option("#by", "provider")
        await page.get_by_role("rowheader", name="azure, conversation").wait_for()
        await page.select_option("#period", "today")
        await page.get_by_role("cell", name="4.7 min heard").wait_for()


async def test_of_very_many_people_those_who_talked_most_have_a_row_and_the_others_one_together(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "usage.sqlite3")
    ledger.append([replace(turn(n, 0), user_id=f"pupil-{n}", audio_ms_in=1_000 * (1_000 - n)) for n in range(103)])
    ledger.close()
    async with usage_page(tmp_path) as (page, _):
        await told(page)
        await page.select_option("#by", "user")
        await page.get_by_role("rowheader", name="Everybody else").wait_for()
        names = await page.locator("#who tbody th").all_inner_texts()
        assert names == [*(f"pupil-{n}" for n in range(100)), "Everybody else"]
        others = page.locator("#who tbody tr").last
        assert (await others.locator("td").all_inner_texts())[0] == "3"
        assert "the 100 who talked most" in await page.inner_text("#who caption")
        assert (await page.locator("#who tfoot td").all_inner_texts())[0] == "103"


async def test_files_are_saved_with_what_is_in_them_and_their_checksum(tmp_path: Path) -> None:
    record(tmp_path)
    async with usage_page(tmp_path, accept_downloads=True) as (page, _):
        await told(page)
        saved: list[Any] = []
        page.on("download", lambda download: saved.append(download))  # noqa: PLW0108 - a bound method of its own is refused
        await page.click("text=Every turn (CSV)")
        await page.locator("#file-status", has_text="with its checksum").wait_for()
        files = {download.suggested_filename: contents(await download.path()) for download in saved}
        about = json.loads(next(content for name, content in files.items() if name.endswith(".json")))
        table = next(content for name, content in files.items() if name.endswith(".csv"))
        assert about["sha256"] == hashlib.sha256(table).hexdigest()
        assert about["events"] == len(table.splitlines()) - 1 > 100
        async with page.expect_download() as of_table:
            await page.click("text=The table above (CSV)")
        assert (await of_table.value).suggested_filename == "usage-by-agent.csv"


async def test_a_server_with_keys_asks_for_one_and_the_tab_remembers_it(tmp_path: Path) -> None:
    record(tmp_path, "default")
    async with usage_page(tmp_path, settings={"api_keys": (KEY,)}) as (page, _):
        key = page.get_by_label("Access key")
        await key.wait_for()
        assert await page.evaluate("document.activeElement.id") == "key"
        assert not await page.locator("#figures").is_visible()
        assert await page.inner_text("#sign-in-problem") == ""
        await key.fill("cv_test_of_somebody_else")
        await page.keyboard.press("Enter")
        await page.get_by_role("alert").filter(has_text="does not know that key").wait_for()
        assert (await page.evaluate(LOW_CONTRAST))["low"] == []
        await key.fill(KEY)
        await page.keyboard.press("Enter")
        await told(page)
        assert await page.evaluate("document.activeElement.id") == "content"
        assert await page.evaluate("Object.values(localStorage).length") == 0
        await page.reload()
        await told(page)
        await page.click("text=Sign out")
        await key.wait_for()
        assert await page.evaluate("sessionStorage.length") == 0
        await page.click("text=Sign in with a name and password instead")
        await page.get_by_label("Name").fill("ada")
        await page.get_by_label("Password").fill("word")
        await page.get_by_role("button", name="Sign in").click()
        await page.locator("#sign-in-problem:not(:empty)").wait_for()


async def test_somebody_who_may_only_see_their_own_sees_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path)
    member = Identity("local", "pupil-3", "member", PERMISSIONS["member"])

    async def authenticate(*_: object) -> Identity:
        return member

    monkeypatch.setattr("server.host.Host.authenticate", authenticate)
    async with usage_page(tmp_path) as (page, _):
        await page.locator(".tile").first.wait_for()
        assert await page.inner_text("#whose") == "Your own usage."
        assert "1 turn" in await page.locator(".tile").first.inner_text()
        assert not await page.locator("#whole").is_visible()


async def test_nothing_used_and_a_server_that_does_not_answer_are_told_in_words(tmp_path: Path) -> None:
    async with usage_page(tmp_path, budgets=False) as (page, _):
        await page.get_by_text("Nobody has talked in this time.").wait_for()
        assert "0.0 min" in await page.locator(".tile").first.inner_text()
        assert await page.inner_text("#days figcaption") == "Nobody talked in these days."
        assert await page.locator(".budget").count() == 0
        await page.route("**/v1/usage/current*", lambda route: route.abort())
        await page.click("#refresh")
        await page.get_by_role("alert").filter(has_text="cannot be reached").wait_for()
        await page.unroute("**/v1/usage/current*")
        await page.click("#retry")
        await page.locator("#problem").wait_for(state="hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_of_the_usage_page_has_contrast_and_every_target_size(tmp_path: Path, scheme: str) -> None:
    record(tmp_path, unpriced=True)
    async with usage_page(tmp_path, color_scheme=scheme) as (page, _):
        await told(page)
        await page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        contrast = await page.evaluate(LOW_CONTRAST)
        assert contrast["low"] == []
        assert contrast["checked"] > 150
        assert await page.evaluate(SMALL_TARGETS) == []


@pytest.mark.parametrize("viewport", [{"width": 320, "height": 256}, {"width": 640, "height": 512}])
async def test_the_usage_page_reflows_when_it_is_enlarged(tmp_path: Path, viewport: dict[str, int]) -> None:
    record(tmp_path, unpriced=True)
    async with usage_page(tmp_path, viewport=viewport) as (page, _):
        await told(page)
        await page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        for kind in ("agent", "user", "provider"):
            await page.select_option("#by", kind)
            await page.locator("#who table").wait_for()
            assert await page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
            assert await page.evaluate(OUTSIDE) == []


async def test_the_usage_page_is_used_by_keyboard_and_read_by_screen_readers(tmp_path: Path) -> None:
    record(tmp_path)
    async with usage_page(tmp_path, reduced_motion="reduce") as (page, _):
        await told(page)
        seen: list[str] = []
        for _ in range(20):
            await page.keyboard.press("Tab")
            stop: list[str] = await page.evaluate(
                "() => { const at = document.activeElement, style = getComputedStyle(at);"
                " return [at.id || at.textContent, style.outlineStyle, style.outlineWidth] }"
            )
            if await page.evaluate("document.activeElement === document.body"):
                break
            assert stop[1:] == ["solid", "3px"], stop
            seen.append(stop[0])
        for name in ("Skip to the figures", "Talk", "by", "period", "Every turn (CSV)", "refresh"):
            assert name in seen
        assert await page.evaluate("document.getAnimations().length") == 0
        snapshot = await page.locator("body").aria_snapshot()
        for line in (
            '- heading "Usage" [level=1]',
            '- heading "Right now" [level=2]',
            '- heading "Today" [level=3]',
            '- combobox "Show"',
            '- combobox "Over"',
            '- columnheader "Minutes"',
            '- rowheader "class-3b"',
            '- button "Every turn (JSON Lines)"',
        ):
            assert line in snapshot, line


async def test_forced_colours_keep_bars_and_budgets_visible(tmp_path: Path) -> None:
    record(tmp_path)
    async with usage_page(tmp_path, forced_colors="active") as (page, _):
        await told(page)
        seen: list[list[str]] = await page.evaluate(
            "() => ['.days rect', '.budget-fill'].map((name) => {"
            " const style = getComputedStyle(document.querySelector(name)),"
            "  below = getComputedStyle(document.body).backgroundColor;"
            " return [name === '.days rect' ? style.fill : style.backgroundColor, below] })"
        )
        for shown, below in seen:
            assert shown != below


def test_the_usage_page_carries_no_inline_code_or_style() -> None:
    html = (WEB_DEMO / "usage" / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", html)
