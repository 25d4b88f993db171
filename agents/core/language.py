"""What the turn policy knows of a language, as data."""

from __future__ import annotations

from dataclasses import dataclass

from agents.core.meaning import Spelling
from agents.core.sentences import ENGLISH, sentences_for

_BACKCHANNELS = frozenset(
    "mhm mm mmm mm-hmm mmhmm mm-hm hm hmm hmmm uh-huh uh uhh um umm ah oh huh ok okay yeah yep yes yup right sure "
    "good great wow nice cool i see got it aha ahh ooh".split()
)
_UNFINISHED = frozenset(
    "a an the and or but so because if when while that which who whose to of in on at for from with by as than "
    "my your his her its our their this these those is are was were be been am i'm you're we're they're it's "
    "um uh er erm like well very about into i we they can could would should will shall may might must do does "
    "did not don't have has had let's please".split()
)
_ENUMERATING = frozenset(
    "zero oh one two three four five six seven eight nine ten eleven twelve double triple dot at dash underscore "
    "slash point comma".split()
)
_INTERRUPTERS = frozenset(
    "stop no wait hold pause quiet enough cancel help what why who how when where sorry excuse hey listen actually "
    "hang shush silence".split()
)
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_NEGATED = "do does did is are was were has have had could would should"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_RANKS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_SPELLING = Spelling(
    hesitations=frozenset("um umm uh uhm er erm ah eh hm hmm mm mmm".split()),
    same={
        "ok": "okay",
        "cannot": "can not",
        "can't": "can not",
        "won't": "will not",
        "gonna": "going to",
        "wanna": "want to",
        "let's": "let us",
        "i'm": "i am",
        **{f"{word}n't": f"{word} not" for word in _NEGATED.split()},
        **{f"{word}'s": f"{word} is" for word in "it that what where who he she there here how".split()},
        **{f"{word}'re": f"{word} are" for word in "we you they".split()},
        **{f"{word}'ll": f"{word} will" for word in "i you he she it we they".split()},
        **{f"{word}'ve": f"{word} have" for word in "i you we they".split()},
    },
    numbers={
        **{word: number for number, word in enumerate(_NUMBERS.split())},
        **{word: 20 + 10 * number for number, word in enumerate(_TENS.split())},
    },
    ranks={word: number for number, word in enumerate(_RANKS.split(), 1)},
    factors={"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000},
)


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """Word lists of one language (English by default).

    ``backchannels`` are said while listening, ``interrupters`` to make somebody stop; ``unfinished_endings`` want
    another word; ``enumerating_words`` come with pauses between them; ``fillers`` are what the agent says when its
    answer is late, ``apology`` when it fails, ``refusal`` when a content filter forbids it; ``silence_note`` tells the
    model that nobody has said anything for long. ``spelling`` is what may be written in more than one way and means the
    same.
    """

    backchannels: frozenset[str] = _BACKCHANNELS
    backchannel_max_words: int = 3
    interrupters: frozenset[str] = _INTERRUPTERS
    unfinished_endings: frozenset[str] = _UNFINISHED
    enumerating_words: frozenset[str] = _ENUMERATING
    fillers: tuple[str, ...] = ("One moment.", "Let me think.", "Just a second.")
    apology: str = ENGLISH.apology
    refusal: str = ENGLISH.refusal
    silence_note: str = (
        "The user has said nothing for a while. In one short sentence, ask whether they are still there."
    )
    spelling: Spelling = _SPELLING


def rules_for(locale: str) -> LanguageRules:
    """The rules of a locale's language; a language without rules of its own gets none of English's word lists."""
    if locale.split("-", maxsplit=1)[0].lower() == "en":
        return LanguageRules()
    none, said = frozenset[str](), sentences_for(locale)
    return LanguageRules(none, 0, none, none, none, (), said.apology, said.refusal, spelling=Spelling())
