"""The phrase splitter: early first phrase, nothing torn apart, and the text unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.loop.phrases import MAX_PHRASE_CHARS, Phrase, PhraseSplitter


def split(text: str, locale: str = "en-US") -> list[Phrase]:
    splitter = PhraseSplitter(locale)
    return splitter.feed(text) + splitter.flush()


def texts(text: str, locale: str = "en-US") -> list[str]:
    return [phrase.text.strip() for phrase in split(text, locale)]


PIECES = st.sampled_from(
    (
        "Hello|well|Dr.|e.g.|U.S.|a.m.|3.14|1,000.50|10:30|No.|5|https://x.y/a,b?c=d.|me@x.org|...|…|**bold|text**|"
        '`co de`|"quoted|words"|(in|brackets)|[a|link](http://x.y/)|```|\n|\n\n|- |1. |,|;|:|—| - |!|?|.|。|！|、|你好|'
        "世界|😀|é|Ünï|’|“|”|«|»|'|*|_|#|$5|%|the|of|a"
    ).split("|")
)
WRITTEN = st.one_of(
    st.text(max_size=300),
    st.lists(st.tuples(PIECES, st.sampled_from([" ", "", "  ", "\n"])), max_size=80).map(
        lambda pairs: "".join(piece + space for piece, space in pairs)
    ),
)


@given(WRITTEN)
def test_the_phrases_put_together_are_the_text(text: str) -> None:
    assert "".join(phrase.text for phrase in split(text)) == text


@given(WRITTEN, st.data())
def test_how_the_text_is_cut_into_deltas_changes_nothing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    splitter = PhraseSplitter()
    phrases: list[Phrase] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        phrases += splitter.feed(text[start:end])
    assert phrases + splitter.flush() == split(text)


@given(WRITTEN)
def test_one_character_at_a_time_gives_the_same_phrases(text: str) -> None:
    splitter = PhraseSplitter()
    phrases = [phrase for char in text for phrase in splitter.feed(char)]
    assert phrases + splitter.flush() == split(text)


@given(WRITTEN)
def test_no_phrase_is_empty_and_only_the_first_may_begin_with_space(text: str) -> None:
    phrases = split(text)
    assert all(phrase.text for phrase in phrases)
    assert all(not phrase.text[0].isspace() for phrase in phrases[1:] if len(phrase.text) < MAX_PHRASE_CHARS)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Of course I can, and I will do it right away for you.", "Of course I can,"),
        ("Unfortunately, I do not know that one at all.", "Unfortunately,"),
        ("Hello! How can I help you?", "Hello!"),
        ("That is a good question. The answer is long.", "That is a good question."),
        ("The sky — at least on Earth — is blue in the daytime.", "The sky — at least on Earth —"),
        (
            "one two three four five six seven eight nine ten eleven twelve",
            "one two three four five six seven eight nine",
        ),
        ("你好！我是你的语音助手。", "你好！我是你的语音助手。"),
        ("我是你的语音助手。今天能为你做什么？", "我是你的语音助手。"),
    ],
)
def test_the_first_phrase_comes_early(text: str, first: str) -> None:
    assert texts(text)[0] == first


def test_a_first_word_alone_is_too_short_to_speak() -> None:
    assert texts("Yes, I can help you with that.")[0] == "Yes, I can help you with that."


def test_a_phrase_is_certain_as_soon_as_the_next_word_begins() -> None:
    splitter = PhraseSplitter()
    assert splitter.feed("Of course I can, ") == []
    assert splitter.feed("a") == [Phrase("Of course I can, ", "clause")]


def test_later_phrases_are_longer_than_the_first() -> None:
    text = "Sure thing, my friend. " + "We go on, and on, and on, until the day ends. " * 3
    lengths = [len(phrase.text.split()) for phrase in split(text)]
    assert lengths[0] < max(lengths)
    assert max(lengths) <= 48


WHOLE = [
    "Dr. Smith",
    "Mrs. J. R. R. Tolkien",
    "the U.S. economy",
    "at 10:30 a.m. today",
    "No. 5",
    "e.g. this one",
    "i.e. that one",
    "vs. him",
    "pi is 3.14159",
    "cost $1,000.50 or so",
    "on 2024-05-06, perhaps",
    "version 3.11.2 is",
    "https://www.example.com/a,b;c?d=e:f",
    "write to jo.doe@example.com, please",
    "from 10 - 20 people",
    "wait... there",
]


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("before", ["", "I think that this is how it goes with ", "So, then, it was "])
def test_what_belongs_together_is_never_torn_apart(whole: str, before: str) -> None:
    inner = whole.split(",", maxsplit=1)[0] if whole.startswith(("on ", "write")) else whole
    protected = inner.split(" ")
    text = f"{before}{whole} and then we all went home. The end."
    pieces = texts(text)
    # No cut inside a number, abbreviation or address; between plain words one may fall.
    for word in protected:
        assert any(word in piece.split() or word in piece for piece in pieces)
    for left, right in (
        ("Dr.", "Smith"),
        ("J.", "R."),
        ("No.", "5"),
        ("e.g.", "this"),
        ("i.e.", "that"),
        ("vs.", "him"),
    ):
        if f"{left} {right}" in text:
            assert any(f"{left} {right}" in piece for piece in pieces)


@pytest.mark.parametrize(
    "whole",
    [
        '"Stop it. Now, please,"',
        "“Stop. Go, now.”",
        "(which was odd, really. Was it?)",
        "**very bold, and. strong**",
        "`code, more. code`",
        "[a label, here. ok](https://x.y/z)",
        "«Non, merci. Au revoir»",
    ],
)
def test_quotations_brackets_and_markup_stay_whole(whole: str) -> None:
    pieces = texts(f"He said {whole} and left the room at once. Then he came back.")
    assert any(whole in piece for piece in pieces)


def test_fenced_code_stays_whole() -> None:
    code = "```python\nx = 1, 2\n\nprint(x). # a; b\n```"
    assert any(code in piece for piece in texts(f"Here you go:\n\n{code}\nThat is all."))


def test_an_opening_mark_that_is_never_closed_blocks_nothing_for_long() -> None:
    pieces = texts('He said "well, ' + "this goes on and on, without an end, " * 12)
    assert len(pieces) > 3


def test_endless_text_without_a_border_is_bounded() -> None:
    pieces = split("x" * (3 * MAX_PHRASE_CHARS))
    assert [len(piece.text) for piece in pieces[:2]] == [MAX_PHRASE_CHARS, MAX_PHRASE_CHARS]


def test_list_numbers_go_with_their_items() -> None:
    pieces = texts("Do this:\n1. First boil the water.\n2. Then add the tea.\n")
    assert pieces == ["Do this:", "1. First boil the water.", "2. Then add the tea."]


def test_emoji_stay_with_the_sentence_they_follow() -> None:
    assert texts("Great idea! 😀 Let's go there now.")[0] == "Great idea! 😀"


def test_german_ordinals_end_no_sentence() -> None:
    text = "Wir sehen uns am 3. Mai wieder. Gut."
    assert texts(text, "de-DE")[0] == "Wir sehen uns am 3. Mai wieder."
    assert texts("He has 3. Others have more.")[0] == "He has 3."


def test_a_splitter_may_be_used_again_after_flushing() -> None:
    splitter = PhraseSplitter()
    once = splitter.feed("Hello there, my friend. Bye.") + splitter.flush()
    assert splitter.feed("Hello there, my friend. Bye.") + splitter.flush() == once
