"""What the words of a pause say, in the languages that have rules, and what the agent has asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.endpoint_signals import Reading, expected_by, read, words_of
from agents.core.language import LANGUAGES, Expected, LanguageRules, load


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "I would like to"), ("en", "and then, um"), ("en", "It's in the..."), ("en", "Because,"),
        ("en", "The conf-"),
        ("en", "Please."), ("en", "I'd like to go with my"),
        ("de", "Ich möchte einen"), ("de", "Das war gestern und"), ("de", "Also ähm"),
        ("it", "Vorrei prenotare un"), ("it", "Sono andato con la"), ("it", "Dipende dall'"),
        ("fr", "Je voudrais un"), ("fr", "C'est à côté de la"), ("fr", "Je cherche l’"),
        ("es", "Quiero reservar una"), ("es", "Estaba pensando que"),
    ],
)  # fmt: skip
def test_words_that_want_another_leave_the_turn_open(language: str, text: str) -> None:
    assert read(text, load(language)) is Reading.OPEN


@pytest.mark.parametrize(
    ("language", "text", "reading"),
    [
        ("en", "What are you up to?", Reading.QUESTION), ("en", "Turn on the lights.", Reading.SENTENCE),
        ("en", "Yes.", Reading.ANSWER), ("en", "No, thanks.", Reading.ANSWER),
        ("en", "The conference.", Reading.FRAGMENT),
        ("en", "turn on the lights", Reading.BARE), ("en", "", Reading.BARE), ("en", "...", Reading.BARE),
        ("en", "Yes, please.", Reading.ANSWER), ("en", "I'd like to go with my.", Reading.DANGLING),
        ("en", "A table for four people.", Reading.SENTENCE),
        ("de", "Ruf mich bitte an.", Reading.SENTENCE), ("de", "Mach das Licht aus.", Reading.SENTENCE),
        ("de", "Das war's.", Reading.ANSWER),
        ("it", "Accendi la luce in cucina.", Reading.SENTENCE), ("it", "Va bene.", Reading.ANSWER),
        ("fr", "Éteins la lumière du salon.", Reading.SENTENCE), ("fr", "D’accord.", Reading.ANSWER),
        ("es", "¿Qué hora es?", Reading.QUESTION), ("es", "Eso es todo.", Reading.ANSWER),
    ],
)  # fmt: skip
def test_words_that_are_whole_do_not(language: str, text: str, reading: Reading) -> None:
    assert read(text, load(language)) is reading


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "My number is 555-1234.", None), ("en", "five five five", None), ("en", "It's spelled J O", None),
        ("en", "anna at example dot", None), ("en", "anna", "email"), ("en", "anna at example", "email"),
        ("en", "two one", "number"), ("en", "It is 4711", "number"), ("en", "J.", "name"),
        ("en", "Milk, eggs.", "list"),
        ("de", "null eins sieben", None), ("de", "anna ät beispiel punkt", None),
        ("it", "tre tre tre", None), ("it", "anna chiocciola esempio punto", None),
        ("fr", "zéro six douze", None), ("es", "seis cinco cuatro", None),
    ],
)  # fmt: skip
def test_what_is_said_in_pieces_is_given_time(language: str, text: str, expected: Expected | None) -> None:
    assert read(text, load(language), expected) is Reading.PIECE


@pytest.mark.parametrize(
    "text", ["anna@example.com", "It's anna at example dot com.", "anna dot smith at example dot co dot uk"]
)
def test_a_whole_address_is_waited_for_no_longer(text: str) -> None:
    assert read(text, load("en"), "email") is Reading.SENTENCE


@pytest.mark.parametrize(
    ("language", "said", "expected"),
    [
        ("en", "Of course. What is your phone number?", "number"), ("en", "Please spell your last name.", "name"),
        ("en", "And your e-mail address?", "email"), ("en", "Which ones would you like?", "list"),
        ("en", "Your number is saved. How was your day?", None), ("en", "", None),
        ("en", "Your account is open.", None), ("en", "Anything else?", None),
        ("en", "The numbering is odd.", None),
        ("en", "What is your account num…", "number"),
        ("de", "Wie lautet Ihre Kontonummer?", "number"), ("it", "Qual è il suo cognome?", "name"),
        ("fr", "Quel est votre numéro de téléphone ?", "number"), ("es", "¿Cuál es su correo electrónico?", "email"),
    ],
)  # fmt: skip
def test_what_the_agent_asked_for_is_known_by_its_last_sentence(
    language: str, said: str, expected: Expected | None
) -> None:
    assert expected_by(said, load(language)) == expected


@given(st.text(), st.sampled_from([None, "number", "email", "name", "list"]), st.sampled_from(LANGUAGES))
def test_any_text_is_read(text: str, expected: Expected | None, language: str) -> None:
    rules = load(language)
    assert read(text, rules, expected) in Reading
    assert read(text, LanguageRules(), expected) in Reading
    assert expected_by(text, rules) in {None, "number", "email", "name", "list"}
    assert all(word and not word.startswith(("-", "'")) for word in words_of(text))
