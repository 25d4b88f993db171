"""The languages' word lists: whole, and refused with a reason where they are not."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path

import pytest

from agents.core.language import LANGUAGES, LanguageRules, load, parse, rules_for
from agents.core.sentences import sentences_for

ENGLISH = files("agents.core").joinpath("languages", "en.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_all_that_turn_taking_asks_for(language: str) -> None:
    rules = load(language)
    assert all(getattr(rules, one.name) for one in fields(rules))
    assert set(rules.expects) == {"number", "email", "name", "list"}


def test_every_file_is_a_language() -> None:
    folder = Path(str(files("agents.core").joinpath("languages")))
    assert sorted(file.stem for file in folder.glob("*.toml")) == sorted(LANGUAGES)


@pytest.mark.parametrize(
    ("locale", "language"), [("de-AT", "de"), ("it", "it"), ("EN-gb", "en"), ("pt_BR", None), ("", None)]
)
def test_a_locale_has_its_languages_rules_or_none(locale: str, language: str | None) -> None:
    said = sentences_for(locale)
    words = LanguageRules() if language is None else load(language)
    assert rules_for(locale) == replace(words, apology=said.apology, refusal=said.refusal)


def test_a_spelling_counts_from_nought_from_twenty_and_from_the_first() -> None:
    spelling = rules_for("en").spelling
    assert (spelling.numbers["zero"], spelling.numbers["nineteen"]) == (0, 19)
    assert (spelling.numbers["twenty"], spelling.numbers["ninety"], spelling.ranks["first"]) == (20, 90, 1)
    assert not rules_for("pt").spelling.numbers


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[endpoint]", "[endpoints]", r"broken.toml: \[endpoint\] must have exactly"),
        ('at_words = "at"', "", r"\[endpoint\] must have exactly"),
        ('at_words = "at"', 'at_words = "at"\nextra = "x"', r"\[endpoint\] must have exactly"),
        ('at_words = "at"', 'at_words = ""', "endpoint.at_words must list"),
        ('at_words = "at"', 'at_words = "at at"', r"endpoint.at_words .* \(twice: \['at'\]\)"),
        ('at_words = "at"', 'at_words = "At"', "endpoint.at_words must list lower-case"),
        ('at_words = "at"', "at_words = [", "broken.toml: "),
        ("backchannel_max_words = 3", "backchannel_max_words = 0", "overlap.backchannel_max_words must be"),
        ('fillers = ["One moment.",', 'fillers = ["", ', "speech.fillers must be"),
        ('email = "e-mail|email|mail address"', "", r"\[expects\]"),
        ("[spelling]", '[spelling]\nnumbers_from = "one"', r"spelling has unknown keys: \['numbers_from'\]"),
        ('ranks = "first', 'ranks = "First', "spelling.numbers must list lower-case"),
        ("[expects]", "[more]\n[expects]", r"unknown sections \['more'\]"),
    ],
)
def test_a_broken_file_is_refused_by_name_and_key(old: str, new: str, reason: str) -> None:
    assert ENGLISH.count(old) == 1
    with pytest.raises(ValueError, match=reason):
        parse(ENGLISH.replace(old, new), "broken.toml")
