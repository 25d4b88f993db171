"""Text made fit for speech: markup gone, numbers readable, no word lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.loop.english import ordinal
from agents.loop.speakable import speakable

SPOKEN = {
    # markup
    "# Title\n**Bold** and *it* and `code`": "Title. Bold and it and code",
    "See [the docs](https://x.y/z_(a)) now": "See the docs now",
    "- one\n- two": "one. two",
    "```python\nprint(1)\n```": "print(1)",
    "| a | b |\n|---|---|\n| 1 | 2 |": "a, b. 1, 2.",
    "> quoted": "quoted",
    "**cut off": "cut off",
    "over**": "over",
    "_em_ and snake_case": "em and snake_case",
    "Line one<br>Line two": "Line one Line two",
    "---": "",
    # emoji
    "Hi 😀 there 👩‍👩‍👧!": "Hi there!",
    "🎉": "",
    # addresses
    "Go to https://www.example.com/path?q=1.": "Go to example dot com.",
    "Write to jo.doe@example.com!": "Write to jo dot doe at example dot com!",
    # money
    "$5.20": "5 dollars and 20 cents",
    "$1": "1 dollar",
    "$0.01": "1 cent",
    "$1,234.00": "1234 dollars",
    "€3 and 7€": "3 euros and 7 euros",
    "£2 million": "2 million pounds",
    "$5M": "5 million dollars",
    # percent, units, ordinals, ranges
    "12.5%": "12.5 percent",
    "100 km/h": "100 kilometers per hour",
    "1 km": "1 kilometer",
    "20°C": "20 degrees Celsius",
    "the 90s": "the 90s",
    "5G": "5G",
    "the 1st, 2nd and 23rd": "the first, second and twenty-third",
    "10-20 people": "10 to 20 people",
    "pages 3–5": "pages 3 to 5",
    "$10-$20": "10 dollars to 20 dollars",
    # times and dates
    "at 10:30 a.m. today": "at 10 30 A M today",
    "It is 9:00.": "It is 9 o'clock.",
    "at 9:05 pm": "at 9 oh 5 P M",
    "at 5 p.m. We left": "at 5 P M. We left",
    "2024-05-06": "May sixth, 2024",
    # digit by digit
    "555-123-4567": "5 5 5, 1 2 3, 4 5 6 7",
    "+1 (555) 123-4567": "plus 1, 5 5 5, 1 2 3, 4 5 6 7",
    "500-1000": "500 to 1000",
    "1 000 000": "1 000 000",
    "in 1999": "in 1999",
    # abbreviations and symbols
    "e.g. cats & dogs": "for example cats and dogs",
    "i.e. pets": "that is pets",
    "cats, etc. Then": "cats, et cetera. Then",
    "Dr. Who": "Doctor Who",
    "No. 5 and #7": "number 5 and number 7",
    "U.S. Army": "U S Army",
    "J. R. R. Tolkien": "J R R Tolkien",
    "AT&T": "AT and T",
    # arithmetic
    "2 + 2 = 4": "2 plus 2 equals 4",
    "12 x 7": "12 times 7",
    "10 - 5": "10 minus 5",
    "It is -5 outside": "It is minus 5 outside",
    "1/2 cup": "one half cup",
    "3.14": "3.14",
}


@pytest.mark.parametrize(("written", "spoken"), SPOKEN.items())
def test_writing_becomes_speech(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


@pytest.mark.parametrize("written", SPOKEN)
def test_speech_stays_as_it_is(written: str) -> None:
    once = speakable(written)
    assert speakable(once) == once


PLAIN = st.lists(
    st.from_regex(r"[a-zA-Z]{1,9}|[1-9][0-9]{0,2}|[a-zA-Z]{3,8}[,.!?;:]", fullmatch=True), min_size=1, max_size=30
).map(" ".join)


@given(PLAIN)
def test_plain_text_keeps_all_its_words_and_digits(text: str) -> None:
    spoken = speakable(text)
    assert re.sub(r"\D", "", spoken) == re.sub(r"\D", "", text)
    assert set(re.findall(r"[a-z]{4,}", text.lower())) <= set(re.findall(r"[a-z]+", spoken.lower()))


@given(st.lists(st.from_regex(r"[A-Za-z]{4,9}[,.!?]?", fullmatch=True), min_size=1, max_size=30).map(" ".join))
def test_plain_words_are_left_alone(text: str) -> None:
    assert speakable(text) == text


@given(st.text(max_size=200))
def test_any_text_at_all_is_taken(text: str) -> None:
    spoken = speakable(text)
    assert spoken == spoken.strip()
    assert "\n" not in spoken


@given(st.lists(st.text("abcdeé你好ß", min_size=1, max_size=8), min_size=1, max_size=12), st.data())
def test_markup_never_takes_words_with_it(words: list[str], data: st.DataObject) -> None:
    frames = [
        "{}",
        "**{}**",
        "*{}*",
        "`{}`",
        "[{}](http://x.y/)",
        "~~{}~~",
        "_{}_",
        "# {}\n",
        "- {}\n",
        "> {}\n",
        "😀{}",
    ]
    text = " ".join(data.draw(st.sampled_from(frames)).format(word) for word in words)
    assert re.findall(r"\w+", speakable(text)) == words


def test_another_language_gets_no_english_words() -> None:
    assert speakable("**Das** kostet 5 % & mehr 😀", "de-DE") == "Das kostet 5 % & mehr"


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "first"), (12, "twelfth"), (20, "twentieth"), (21, "twenty-first"), (100, "one hundredth"), (0, "zeroth")],
)
def test_ranks_in_words(number: int, words: str) -> None:
    assert ordinal(number) == words
