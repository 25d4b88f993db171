"""Which latency budget a session gets, and what becomes of it in the session's options."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.budget import FILLER_RESERVE_MS, STAGES, BudgetError
from agents.core.budget_profiles import PROFILES, profile
from agents.core.options import Identity
from server.contracts.latency_budget import LatencyBudgetSettings
from server.contracts.session import Accessibility, TurnDetection, VoiceSettings
from server.engine_rules import Asked
from server.latency_choice import LatencyChoice, SessionLatency
from server.sessions.realtime_options import Surroundings, realtime_options
from server.sessions.voice_options import WAITS, chat_options, session_options, voice_latency
from server.settings import load_settings
from server.wire.realtime.settings import Detection, RealtimeSettings, ReplySettings

ME = Identity("ses_1")
ELSEWHERE = {"base_url": "http://127.0.0.1:9/v1", "model": "any"}
ACCOUNT = {"host": "ws://127.0.0.1:9", "key": "azure-key"}
TENANTS = (
    {"id": "school", "api_keys": ["a-key-of-the-school-1"], "azure": ACCOUNT},
    {"id": "clinic", "api_keys": ["a-key-of-the-clinic-1"]},
)
SCHOOL, CLINIC = Asked("school", "default", "de-CH"), Asked("clinic", "default", "en-US")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def choice(latency: dict[str, Any] | None = None, **more: Any) -> LatencyChoice:
    return LatencyChoice(load_settings(latency=latency or {}, tenants=TENANTS, **more))


def wish(stages: dict[str, Any] | None = None, name: str | None = None) -> LatencyBudgetSettings:
    return LatencyBudgetSettings.model_validate_json(json.dumps({"profile": name, "stages": stages or {}}))


# --- the operator's ---


@pytest.mark.parametrize(
    ("more", "school", "clinic"),
    [
        ({}, "embedded", "embedded"),
        ({"model": ELSEWHERE}, "azure", "azure"),
        ({"stt": {"engine": "azure"}, "azure": ACCOUNT}, "azure", "azure"),
        ({"azure": ACCOUNT}, "embedded", "embedded"),
        ({"engine_rules": [{"stt": ["azure", "whisper"]}]}, "azure", "embedded"),
    ],
)
def test_auto_is_azure_where_an_engine_in_use_is_a_service(more: dict[str, Any], school: str, clinic: str) -> None:
    chosen = choice(**more)
    assert (chosen.operators(SCHOOL).name, chosen.operators(CLINIC).name) == (school, clinic)


def test_a_named_profile_is_everybodys_and_comes_as_it_is() -> None:
    assert choice({"profile": "telephony"}).operators(SCHOOL) is profile("telephony")


def test_the_first_rule_that_matches_decides() -> None:
    rules = [
        {"tenant": "school", "locale": "fr", "profile": "embedded"},
        {"tenant": "school", "locale": "de", "stages": {"agent": {"deadline_ms": 1_100}}},
        {"tenant": "school", "profile": "telephony"},
    ]
    chosen = choice({"profile": "azure", "stages": {"agent": {"target_ms": 400}}, "rules": rules})
    ours = chosen.operators(SCHOOL).stages["agent"]
    assert (chosen.operators(SCHOOL).name, ours.target_ms, ours.deadline_ms) == ("azure", 400, 1_100)
    assert chosen.operators(CLINIC).stages["agent"].deadline_ms == 900
    assert chosen.operators(replace(SCHOOL, locale="it")) is profile("telephony"), "times are those of a profile"


def test_who_needs_more_time_has_the_profile_for_it_unless_a_rule_names_another() -> None:
    rules = [{"tenant": "clinic", "profile": "azure"}, {"stages": {"tts": {"on_breach": []}}}]
    chosen = choice({"rules": rules})
    assert chosen.operators(SCHOOL, patient=True).name == "accessibility"
    assert chosen.operators(CLINIC, patient=True).name == "azure"


def test_times_belong_to_a_profile_and_actions_hold_in_every_one() -> None:
    stages = {"agent": {"deadline_ms": 600, "on_breach": ["filler"]}}
    chosen = choice({"profile": "azure", "stages": stages})
    for name in PROFILES:
        agent = chosen.named(name, CLINIC).stages["agent"]
        assert agent.on_breach == ("filler",), name
        assert agent.deadline_ms == (600 if name == "azure" else profile(name).stages["agent"].deadline_ms), name


# --- the client's ---


def test_a_client_moves_within_what_is_permitted() -> None:
    chosen = choice({"profile": "azure"})
    latency = chosen.chosen(CLINIC, wish({"agent": {"deadline_ms": 450, "on_breach": ["filler"]}}))
    assert latency.budget.stages["agent"].deadline_ms == 450
    assert latency.budget.stages["agent"].on_breach == ("filler",)
    assert latency.budget.version.startswith("1+")
    assert chosen.chosen(CLINIC).budget is profile("azure")
    with pytest.raises(BudgetError, match=r"agent\.deadline_ms must be between 450 and 2700 here, not 449"):
        chosen.chosen(CLINIC, wish({"agent": {"deadline_ms": 449}}))
    with pytest.raises(BudgetError, match="hedge is not possible"):
        chosen.chosen(CLINIC, wish({"stt": {"on_breach": ["hedge"]}}))


def test_what_the_operator_switched_off_no_client_gets_by_whatever_profile() -> None:
    chosen = choice({"profile": "azure", "stages": {"agent": {"on_breach": ["filler"]}}})
    for name in (None, *PROFILES):
        latency = chosen.chosen(CLINIC, wish(name=name))
        assert latency.budget.stages["agent"].on_breach == ("filler",)
        with pytest.raises(BudgetError, match="without hedge"):
            chosen.chosen(CLINIC, wish({"agent": {"on_breach": ["hedge"]}}, name=name))


def test_naming_the_profile_for_more_time_is_like_asking_for_patience() -> None:
    chosen = choice({"profile": "azure"})
    assert chosen.chosen(CLINIC, wish(name="accessibility")).budget is profile("accessibility")
    assert chosen.chosen(CLINIC, wish(name="azure"), patient=True).budget is profile("azure")
    kept = choice({"rules": [{"profile": "azure"}]})
    with pytest.raises(BudgetError, match="must be between"):
        kept.chosen(CLINIC, wish(name="accessibility"))


def test_another_profile_is_a_change_like_any_other() -> None:
    strict = choice({"profile": "azure", "loosest": 1.0})
    with pytest.raises(BudgetError, match=r"stt\.deadline_ms must be between 200 and 400 here, not 1000"):
        strict.chosen(CLINIC, wish(name="embedded"))


@given(
    stages=st.dictionaries(
        st.sampled_from(STAGES),
        st.fixed_dictionaries(
            {}, optional={"target_ms": st.integers(1, 60_000), "deadline_ms": st.integers(1, 60_000)}
        ),
    ),
    name=st.none() | st.sampled_from(PROFILES),
    patient=st.booleans(),
)
def test_whatever_is_wished_for_is_permitted_or_refused(
    stages: dict[str, Any], name: str | None, patient: bool
) -> None:
    chosen = choice({"profile": "azure"})
    try:
        budget = chosen.chosen(CLINIC, wish(stages, name), patient=patient).budget
    except BudgetError:
        return
    base = profile("accessibility" if name == "accessibility" or (patient and name is None) else "azure")
    for stage in STAGES:
        assert 0.5 * base.stages[stage].deadline_ms <= budget.stages[stage].deadline_ms + 0.5
        assert budget.stages[stage].deadline_ms <= 3 * base.stages[stage].deadline_ms + 0.5


# --- what becomes of it ---


def spoken(chosen: LatencyChoice, **settings: Any) -> tuple[SessionLatency, Any]:
    asked = VoiceSettings(**settings)
    latency = voice_latency(chosen, CLINIC, asked)
    return latency, session_options(asked, ME, latency)


def test_turn_taking_follows_the_budget() -> None:
    latency, options = spoken(choice({"profile": "azure"}))
    assert options.budget is latency.budget is profile("azure")
    policy = options.policy
    assert (policy.partial_after_ms, policy.filler_after_ms, policy.filler_by_ms) == (400, 900, 2_380)
    assert policy.speculate


def test_a_client_without_fillers_gets_none() -> None:
    stages = {"agent": {"on_breach": ["apologize"]}, "total": {"on_breach": []}}
    _, options = spoken(choice(), latency_budget=wish(stages))
    assert (options.policy.filler_after_ms, options.policy.filler_by_ms) == (None, None)


def test_the_waits_a_client_names_win_and_the_budget_grows_with_them() -> None:
    latency, options = spoken(choice({"profile": "azure"}), turn_detection=TurnDetection(max_wait_ms=5_000))
    assert options.policy.max_wait_ms == 5_000
    assert latency.budget.stages["endpoint"].deadline_ms == 5_000
    assert latency.budget.stages["total"].deadline_ms == 2_500 + 3_800
    assert options.policy.filler_by_ms == 2_500 + 3_800 - 20 - FILLER_RESERVE_MS


def test_patience_and_the_profile_for_it_go_together() -> None:
    latency, _ = spoken(choice({"profile": "azure"}), accessibility=Accessibility(patience="very_patient"))
    assert latency.budget.name == "accessibility"
    _, options = spoken(choice({"profile": "accessibility"}))
    patient = WAITS["patient"]
    assert (options.policy.min_wait_ms, options.policy.max_wait_ms) == (patient.min_ms, patient.max_ms)
    _, options = spoken(choice({"profile": "accessibility"}), turn_detection=TurnDetection(max_wait_ms=1_000))
    assert options.policy.max_wait_ms == 1_000


def test_without_enforcement_nothing_is_done_but_what_was_done_before() -> None:
    latency, options = spoken(choice({"enforce": False}))
    assert (latency.budget.name, latency.enforced, options.budget) == ("embedded", False, None)
    policy = options.policy
    assert (policy.partial_after_ms, policy.filler_after_ms, policy.filler_by_ms) == (None, 4_000, None)


def test_drafts_can_be_switched_off_for_every_kind_of_session() -> None:
    chosen = choice({"speculate": False})
    _, options = spoken(chosen)
    latency = chosen.chosen(CLINIC)
    realtime = realtime_options(RealtimeSettings("any"), Surroundings(ME, latency))
    written = chat_options(ME, latency)
    assert [each.policy.speculate for each in (options, realtime, written)] == [False, False, False]
    assert written.budget is realtime.budget is latency.budget


def test_realtime_clients_say_themselves_when_the_agent_says_that_it_thinks() -> None:
    around = Surroundings(ME, SessionLatency(profile("azure")))
    quiet = realtime_options(RealtimeSettings("any"), around)
    assert (quiet.policy.filler_after_ms, quiet.policy.filler_by_ms) == (None, None)
    assert (quiet.policy.partial_after_ms, quiet.budget) == (400, profile("azure"))
    interim = RealtimeSettings("any", ReplySettings(filler_after_ms=2_000))
    assert realtime_options(interim, around).policy.filler_after_ms == 2_000
    measured = Surroundings(ME, SessionLatency(profile("azure"), enforced=False))
    unheld = realtime_options(RealtimeSettings("any"), measured)
    assert (unheld.budget, unheld.policy.partial_after_ms, unheld.policy.filler_after_ms) == (None, None, None)


def test_a_realtime_clients_silence_is_waited_for() -> None:
    around = Surroundings(ME, SessionLatency(profile("azure")))
    options = realtime_options(RealtimeSettings("any", detection=Detection(silence_ms=3_000)), around)
    assert options.budget is not None
    assert options.budget.stages["endpoint"].deadline_ms == 3_000
