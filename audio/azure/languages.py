"""The languages Azure Speech recognises, and its multilingual voices speak.

From the service's published list of languages (speech to text, 2026), without regions: which regions there are, the
service says itself. A language that is missing here is left to the next engine in the order.
"""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = frozenset(
    "af am ar as az bg bn bs ca cs cy da de el en es et eu fa fi fil fr ga gl gu he hi hr hu hy id is it ja jv ka kk "
    "km kn ko lo lt lv mk ml mn mr ms mt my nb ne nl or pa pl ps pt ro ru si sk sl so sq sr sv sw "
    "ta te th tr uk ur uz vi wuu yue zh zu".split()  # codespell:ignore te
)

_MULTILINGUAL: Final = "Multilingual"


def spoken_by(voice: str) -> frozenset[str]:
    """The languages a voice speaks, by its name: its own locale's, or all of them."""
    return LANGUAGES if _MULTILINGUAL in voice else frozenset({voice.partition("-")[0].lower()})
