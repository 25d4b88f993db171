"""Tenants and engine rules: what the settings refuse, whom a key belongs to, and which rule decides."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.loop.agent import default_agent_spec
from audio.locales import covers
from server.engine_rules import Asked, EngineRules, in_range, matches
from server.identity.settings_keys import SettingsKeys, digest_bytes
from server.settings import Settings, SettingsError, load_settings
from server.speech_settings import AGENT_ID, EngineRule

OWN, SCHOOL, CLINIC = "the-servers-own-key-1", "a-key-of-the-school-1", "a-key-of-the-clinic-1"
CANARY = "azure-key-canary-7f3a"
ACCOUNT = {"host": "ws://127.0.0.1:9", "key": CANARY}
TENANTS = ({"id": "school", "api_keys": [SCHOOL], "azure": ACCOUNT}, {"id": "clinic", "api_keys": [CLINIC]})


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def settings(**more: object) -> Settings:
    return load_settings(tenants=TENANTS, **more)


def refusal(**more: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(**more)
    return "\n".join(caught.value.problems)


# --- settings ---


def test_a_key_says_whose_it_is() -> None:
    keys = SettingsKeys(settings(api_keys=(OWN, OWN + "-2")))
    found = [keys.by_digest(digest_bytes(key)) for key in (OWN, OWN + "-2", SCHOOL, CLINIC)]
    callers = [caller for caller in found if caller is not None]
    assert [caller.tenant_id for caller in callers] == ["default", "default", "school", "clinic"]
    assert len(set(callers)) == 4
    assert all(keys.by_name(caller.user_id) == caller for caller in callers)
    assert SCHOOL not in callers[2].user_id
    assert keys.by_digest(digest_bytes("wrong-wrong-wrong")) is None


def test_keys_of_tenants_alone_guard_a_host_that_others_can_reach() -> None:
    assert settings(host="0.0.0.0").loopback is False


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tenants": [{"id": "default", "api_keys": [SCHOOL]}]}, "is taken"),
        ({"tenants": [{"id": "School", "api_keys": [SCHOOL]}]}, "pattern"),
        ({"tenants": [{"id": "school", "api_keys": []}]}, "at least 1"),
        ({"tenants": [{"id": "school", "api_keys": ["short"]}]}, "at least 16 characters"),
        ({"tenants": [TENANTS[0], TENANTS[0]]}, "an id of its own"),
        ({"tenants": [TENANTS[0]], "api_keys": (SCHOOL,)}, "stands twice"),
        ({"tenants": [{"id": "school", "api_keys": [SCHOOL], "azure": {"key": CANARY}}]}, "where the service is"),
        ({"engine_rules": [{"tenant": "nobody", "stt": ["whisper"]}]}, "no tenant called nobody"),
        ({"engine_rules": [{"agent": "nobody", "stt": ["whisper"]}]}, "no agent called nobody"),
        ({"engine_rules": [{"locale": "de"}]}, "must say"),
        ({"engine_rules": [{"locale": "de_DE", "stt": ["whisper"]}]}, "not a language range"),
        ({"engine_rules": [{"stt": ["whisper", "whisper"]}]}, "named once"),
        ({"engine_rules": [{"tts": ["none", "piper"]}]}, "stands alone"),
        ({"engine_rules": [{"stt": ["piper"]}]}, "engine_rules.0.stt.0"),
        ({"engine_rules": [{"stt": ["azure"]}]}, "nobody it is for has an account"),
        ({"engine_rules": [{"languages": ["de-DE"]}]}, "two to ten"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence_without_secrets(given: dict[str, object], words: str) -> None:
    said = refusal(**given)
    assert words in said
    assert CANARY not in said
    assert SCHOOL not in said


def test_a_rule_for_a_tenant_without_an_account_needs_the_servers() -> None:
    rule = {"tenant": "clinic", "stt": ["azure", "whisper"]}
    assert "nobody it is for" in refusal(tenants=TENANTS, engine_rules=[rule])
    assert settings(engine_rules=[rule], azure=ACCOUNT).engine_rules
    assert settings(engine_rules=[{"tenant": "school", "stt": ["azure"]}]).engine_rules


def test_secrets_of_tenants_never_show() -> None:
    chosen = settings()
    for words in (repr(chosen), str(chosen.model_dump()), repr(chosen.tenants)):
        assert CANARY not in words
        assert SCHOOL not in words


def test_tenants_and_rules_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "convergio.toml"
    file.write_text(
        f"""
        [[tenants]]
        id = "school"
        api_keys = ["{SCHOOL}"]
        [tenants.azure]
        region = "westeurope"
        key = "{CANARY}"
        [[engine_rules]]
        tenant = "school"
        locale = "de"
        tts = ["azure", "piper"]
        voice = "de-DE-SeraphinaMultilingualNeural"
        """
    )
    chosen = load_settings(file)
    choice = EngineRules(chosen).tts(Asked("school", "assistant", "de-CH"))
    assert (choice.engines, choice.voice) == (("azure", "piper"), "de-DE-SeraphinaMultilingualNeural")


# --- which rule ---


def rules(*given: dict[str, object]) -> EngineRules:
    return EngineRules(settings(engine_rules=given, azure=ACCOUNT))


def test_without_rules_the_settings_of_the_stage_decide() -> None:
    asked = Asked("default", "assistant", "en-US")
    azure = load_settings(stt={"engine": "azure"}, tts={"engine": "azure", "fallback": "none"}, azure=ACCOUNT)
    assert EngineRules(azure).stt(asked).engines == ("azure", "whisper")
    assert EngineRules(azure).tts(asked).engines == ("azure",)
    off = load_settings(stt={"engine": "none"})
    assert EngineRules(off).stt(asked).engines == ("none",)
    assert EngineRules(off).tts(asked).engines == ("piper",)


def test_the_first_rule_that_matches_decides_each_stage_by_itself() -> None:
    chosen = rules(
        {"tenant": "clinic", "tts": ["none"]},
        {"locale": "de", "stt": ["azure"]},
        {"stt": ["whisper"], "tts": ["azure", "piper"]},
    )
    german = Asked("clinic", "assistant", "de-AT")
    assert (chosen.stt(german).engines, chosen.tts(german).engines) == (("azure",), ("none",))
    english = Asked("school", "assistant", "en-GB")
    assert (chosen.stt(english).engines, chosen.tts(english).engines) == (("whisper",), ("azure", "piper"))


def test_a_voice_or_languages_alone_keep_the_usual_order() -> None:
    chosen = rules({"voice": "it-IT-ElsaNeural"}, {"languages": ["en-US", "it-IT"]})
    asked = Asked("default", "assistant", "it-IT")
    assert (chosen.tts(asked).engines, chosen.tts(asked).voice) == (("piper",), "it-IT-ElsaNeural")
    assert (chosen.stt(asked).engines, chosen.stt(asked).languages) == (("whisper",), ("en-US", "it-IT"))


def test_what_only_a_tenants_account_has_is_not_loaded_on_the_servers() -> None:
    chosen = rules({"tenant": "school", "stt": ["azure", "whisper"]}, {"tenant": "clinic", "stt": ["azure"]})
    assert [choice.engines for choice in chosen.all_stt()] == [("whisper",), ("whisper",), ("azure",)]


# --- properties ---

subtags = st.from_regex(r"[A-Za-z]{2,8}", fullmatch=True)
tags = st.lists(subtags, min_size=1, max_size=4).map("-".join)


@given(tags)
def test_a_tag_is_in_the_range_of_each_of_its_beginnings_in_any_case(tag: str) -> None:
    parts = tag.split("-")
    for length in range(1, len(parts) + 1):
        beginning = "-".join(parts[:length])
        assert in_range(beginning.upper(), tag.lower())
    assert in_range("*", tag)


@given(tags, tags)
def test_a_tag_is_in_no_range_that_is_not_whole_subtags_of_its_beginning(wanted: str, tag: str) -> None:
    short, long = wanted.lower().split("-"), tag.lower().split("-")
    assert in_range(wanted, tag) == (long[: len(short)] == short)


matchers = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from([None, "school", "clinic", "default"]),
        "agent": st.sampled_from([None, "assistant", "other"]),
        "locale": st.sampled_from([None, "*", "de", "de-CH", "en"]),
        "stt": st.sampled_from([(), ("whisper",), ("azure", "whisper"), ("none",)]),
        "tts": st.sampled_from([("piper",), ("azure",), ("none",)]),
    }
)
sessions = st.builds(
    Asked,
    st.sampled_from(["school", "clinic", "default", "local"]),
    st.sampled_from(["assistant", "other"]),
    st.sampled_from(["de-CH", "de-DE", "en-US", "fr"]),
)


@given(st.lists(matchers, max_size=5), sessions)
def test_no_rule_behind_the_first_that_matches_changes_anything(given: list[dict[str, object]], asked: Asked) -> None:
    base = load_settings(tenants=TENANTS, azure=ACCOUNT)
    made = tuple(EngineRule.model_validate(each) for each in given)
    chosen = EngineRules(base.model_copy(update={"engine_rules": made}))
    hearing = [rule for rule in made if rule.stt and matches(rule, asked)]
    assert chosen.stt(asked).engines == (hearing[0].stt if hearing else ("whisper",))
    speaking = [rule for rule in made if matches(rule, asked)]
    assert chosen.tts(asked).engines == (speaking[0].tts if speaking else ("piper",))


def test_an_engine_knows_a_language_in_every_region_and_one_that_names_none_may_be_asked() -> None:
    assert covers({"en-US"}, "en-GB")
    assert covers({"de"}, "DE-at")
    assert covers(frozenset(), "xx")
    assert not covers({"en"}, "ens-US")


def test_rules_know_the_agent_there_is() -> None:
    assert default_agent_spec().agent_id == AGENT_ID
    assert load_settings(engine_rules=[{"agent": AGENT_ID, "stt": ["whisper"]}]).engine_rules[0].agent == AGENT_ID
