"""The managed lane: whose keys, what it may cost at most, what has no price, the cheapest engines, and corrections."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agents.core.options import Engines
from agents.core.spending import Most
from agents.loop.agent import Agent, default_agent_spec
from agents.models.fallback import FallbackModel, GuardedModel
from agents.models.port import ModelProfile
from agents.models.scripted import ScriptedModel
from audio.fallback import Guarded
from audio.stt.fallback import FallbackSpeechToText
from audio.stt.scripted import SCRIPTED, ScriptedSpeechToText
from metering.budgets.limits import Limit, Override, Whose, Zones, account, cap, reach, state, used_percent, window
from metering.pricing.book import PriceBook
from metering.pricing.sheets import Price, PriceSheet, packaged_sheets
from metering.usage import StageProvider, UsageEvent
from server.budget_settings import BudgetSettings, BurstSettings, zone
from server.budgets.bursts import Bursts
from server.budgets.lanes import granted, lane_of
from server.budgets.prices import Chain, NoPrice, Prices
from server.budgets.sentences import answer_of, words_for
from server.errors import Refused
from server.settings import Settings, load_settings

DAY_MS = 86_400_000
NOW_MS = 20_000 * DAY_MS
DEAR, OWN = StageProvider("openai", "gpt-x"), StageProvider("embedded", "SmolLM2")


def sheet(provider: str, currency: str, **prices: str) -> PriceSheet:
    per = {"audio_ms_in": "hour", "audio_ms_synthesized": "hour"}
    listed = tuple(
        Price("*", meter, per.get(meter, "million"), Decimal(price), "exact")  # type: ignore[arg-type]
        for meter, price in prices.items()
    )
    return PriceSheet(f"{provider}.toml", provider, currency, date(2020, 1, 1), None, "confirmed", "a test", listed)


def prices(currency: str = "EUR", *sheets: PriceSheet) -> Prices:
    openai = sheet("openai", "EUR", input_tokens="2.00", cached_input_tokens="1.00", output_tokens="8.00")
    return Prices(PriceBook((*packaged_sheets(), *(sheets or (openai,)))), currency)


def chain(*llm: StageProvider, stt: tuple[StageProvider, ...] = ()) -> Chain:
    return Chain(stt, llm, ())


def event(**changes: Any) -> UsageEvent:
    plain: dict[str, Any] = {
        "event_id": "e1",
        "request_id": "r1",
        "tenant_id": "school",
        "user_id": "ada",
        "session_id": "s",
        "agent_id": "default",
        "mode": "managed",
        "started_at": NOW_MS,
        "ended_at": NOW_MS,
        "providers": {"agent": DEAR},
        "input_tokens": 1_000,
        "output_tokens": 100,
    }
    return UsageEvent(**plain | changes)


def test_the_most_a_turn_costs_is_never_less_than_what_it_cost() -> None:
    most = prices().most(chain(DEAR), Most(1_000, 100, 1), 0, NOW_MS, priced=True)
    used = prices().used(event())
    assert most.money == {"EUR": 2_800}
    assert used.money == {"EUR": 2_800}
    assert (used.tokens, used.turns) == (1_100, 1)


def test_two_models_may_be_asked_and_both_paid() -> None:
    most = prices().most(chain(DEAR, DEAR), Most(1_000, 100, 1), 0, NOW_MS, priced=True)
    assert most.money == {"EUR": 5_600}


def test_what_runs_here_costs_nothing_and_units_count_in_every_lane() -> None:
    most = prices().most(chain(OWN), Most(1_000, 100, 2), 5_000, NOW_MS, priced=True)
    assert most.money == {"EUR": 0}
    assert (most.audio_ms, most.tokens, most.turns) == (5_000, 2_200, 1)
    assert prices().used(event(mode="byok")).money == {}


def test_a_model_without_a_price_is_not_free() -> None:
    with pytest.raises(NoPrice, match="azure_openai gpt-y has no price for output_tokens"):
        prices().most(chain(StageProvider("azure_openai", "gpt-y")), Most(10, 10), 0, NOW_MS, priced=True)


def test_money_of_another_currency_is_not_converted() -> None:
    with pytest.raises(NoPrice, match="openai gpt-x is priced in EUR, not in USD"):
        prices("USD").most(chain(DEAR), Most(10, 10), 0, NOW_MS, priced=True)


def test_the_cheapest_of_each_stage_is_chosen_and_nothing_where_there_is_no_choice() -> None:
    dear, own = (ScriptedModel(()) for _ in range(2))
    models = FallbackModel([GuardedModel(_Named(dear, DEAR)), GuardedModel(_Named(own, OWN))])
    engines = Engines(Agent(default_agent_spec(), models))
    cheapest = prices().thrifty(engines, NOW_MS)
    assert cheapest is not None
    assert Chain.of(cheapest).llm == (OWN,)
    assert prices().thrifty(cheapest, NOW_MS) is None


def test_an_engine_whose_price_is_not_known_is_not_the_cheapest() -> None:
    ears = [Guarded(_ear("azure")), Guarded(_ear("whisper"))]
    engines = Engines(Agent(default_agent_spec(), ScriptedModel(())), FallbackSpeechToText(ears))
    cheapest = prices().thrifty(engines, NOW_MS)
    assert cheapest is not None
    assert [who.provider for who in Chain.of(cheapest).stt] == ["whisper"]


class _Named(ScriptedModel):
    def __init__(self, model: ScriptedModel, who: StageProvider) -> None:
        super().__init__(())
        del model
        self._who = who

    @property
    def profile(self) -> ModelProfile:
        return ModelProfile(self._who.provider, self._who.model, tools=False)


def _ear(provider: str) -> ScriptedSpeechToText:
    return ScriptedSpeechToText(("hi",), replace(SCRIPTED, provider=provider, model="any"))


def settings(tmp_path: Path, **more: Any) -> Settings:
    return load_settings(data_dir=tmp_path, **more)


def test_whose_keys_decide_the_lane(tmp_path: Path) -> None:
    here, azure = settings(tmp_path), StageProvider("azure", "speech")
    assert lane_of(here, "school", chain(OWN), frozenset()) == "embedded"
    assert lane_of(here, "school", chain(DEAR), frozenset()) == "managed"
    assert lane_of(here, "school", chain(OWN, stt=(azure,)), frozenset({"azure"})) == "byok"
    assert lane_of(here, "school", chain(DEAR, stt=(azure,)), frozenset({"azure"})) == "managed"
    assert lane_of(here, "default", chain(DEAR), frozenset()) == "byok"
    strict = settings(tmp_path, budgets={"own_lane": "managed"})
    assert lane_of(strict, "local", chain(DEAR), frozenset()) == "managed"


def test_a_client_gets_the_lane_it_asks_for_or_is_told_why_not() -> None:
    assert granted(None, "managed", "school", chain(DEAR)) == "managed"
    assert granted("managed", "byok", "default", chain(DEAR)) == "managed"
    assert granted("byok", "embedded", "school", chain(OWN)) == "embedded"
    for wish, lane in (("byok", "managed"), ("managed", "byok"), ("embedded", "managed")):
        with pytest.raises(Refused):
            granted(wish, lane, "school", chain(DEAR))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("used", "expected"),
    [(0, "free"), (79, "free"), (80, "warned"), (90, "warned"), (91, "thrifty"), (109, "thrifty"), (110, "blocked")],
)
def test_the_shares_are_the_contracts(used: int, expected: str) -> None:
    assert state(used, 100) == expected
    assert cap(100) == 110
    assert used_percent(used, 100) == used


def test_of_a_limit_of_nought_everything_is_used() -> None:
    assert state(0, 0) == "blocked"
    assert cap(0) == 0


def test_an_override_stands_until_it_expires_and_for_whom_it_was_given() -> None:
    whose = Whose("school", "ada")
    mine = Override("o", "user", "school", "ada", 200, 1_000)
    assert reach("user", whose, [mine], 999) == 200
    assert reach("user", whose, [mine], 1_000) == 110
    assert reach("tenant", whose, [mine], 999) == 110
    assert reach("user", Whose("school", "bob"), [mine], 999) == 110
    assert reach("global", whose, [replace(mine, scope="global", tenant_id="", user_id="")], 0) == 200


def test_days_and_months_end_at_the_tenants_midnight_through_summer_time() -> None:
    rome = zone("Europe/Rome")
    before = 1_774_738_799_000  # 2026-03-28T23:59:59+01:00, the day before the clocks change
    day = window("day", before, rome)
    assert (day.name, day.ends_ms) == ("2026-03-28", before + 1_000)
    changing = window("day", before + 1_000, rome)
    assert (changing.name, changing.ends_ms - changing.starts_ms) == ("2026-03-29", 23 * 3_600_000)
    month = window("month", before, rome)
    assert month.name == "2026-03"
    assert window("month", month.ends_ms, rome).name == "2026-04"
    assert window("month", month.ends_ms - 1, rome) == month


def test_accounts_of_names_that_look_alike_are_apart() -> None:
    names = {
        account("user", Whose(a, b), "day", "2026-11-28", "turns")
        for a, b in (("a/b", "c"), ("a", "b/c"), ("a|b", "c"))
    }
    assert len(names) == 3
    assert Zones(zone("UTC"), zone("Europe/Rome")).of("global") == zone("UTC")


def test_settings_that_make_no_sense_are_refused() -> None:
    twice = {"scope": "tenant", "period": "daily", "measure": "turns", "amount": 5}
    for bad in (
        {"limits": [twice, twice]},
        {"limits": [twice | {"amount": "0.5"}]},
        {"time_zone": "Nowhere"},
        {"redis_url": "http://x"},
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
            BudgetSettings.model_validate(bad)
    money = BudgetSettings.model_validate({"limits": [twice | {"measure": "money", "amount": "0.25"}]})
    assert money.limits[0].limit == Limit("tenant", "day", "money", 250_000)


def test_bursts_slide_and_say_how_long_to_wait() -> None:
    now = [0.0]
    bursts = Bursts(BurstSettings(turns_per_minute=3, turns_per_minute_per_key=2), lambda: now[0])
    for at_s, user in ((0.0, "ada"), (10.0, "ada"), (20.0, "bob")):
        now[0] = at_s
        assert bursts.wait_s("turns", "school", user) == 0
        bursts.count("turns", "school", user)
    assert bursts.wait_s("turns", "school", "bob") == 40.0
    assert bursts.wait_s("turns", "clinic", "ada") == 0
    now[0] = 60.0
    assert bursts.wait_s("turns", "school", "bob") == 0
    assert bursts.wait_s("turns", "school", "ada") == 0


@pytest.mark.parametrize(
    ("locale", "text", "meant"),
    [
        ("en-GB", "Yes, please!", True),
        ("en-US", "no", False),
        ("en-US", "No, thank you.", False),
        ("en-US", "What is the time?", None),
        ("de-DE", "Ja, bitte.", True),
        ("it-IT", "Sì", True),
        ("fr-FR", "Non merci", False),
        ("es-ES", "adelante", True),
        ("fi-FI", "yes", True),
        ("en-US", "Now tell me", None),
    ],
)
def test_people_answer_in_their_own_words(locale: str, text: str, meant: bool | None) -> None:
    assert answer_of(text, words_for(locale)) is meant
