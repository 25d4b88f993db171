"""What the turn policy knows of a language, as data."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """Word lists of one language (English by default).

    ``backchannels`` are said while listening, ``interrupters`` to make somebody stop; ``unfinished_endings`` want
    another word; ``enumerating_words`` come with pauses between them; ``fillers`` are what the agent says when its
    answer is late, ``apology`` when it fails, ``refusal`` when a content filter forbids it; ``silence_note`` tells the
    model that nobody has said anything for long.
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


def rules_for(locale: str) -> LanguageRules:
    """The rules of a locale's language; a language without rules of its own gets none of English's word lists."""
    if locale.split("-", maxsplit=1)[0].lower() == "en":
        return LanguageRules()
    none, said = frozenset[str](), sentences_for(locale)
    return LanguageRules(none, 0, none, none, none, (), said.apology, said.refusal)
