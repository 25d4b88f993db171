"""Takes the markup out of written text and leaves the words: what an ear has no use for, in any language.

Pure. Markdown (CommonMark and GitHub's tables), emoji, addresses. Works on a whole reply as on one phrase of it, where
an opening mark may have lost its closing one. Driven by ``agents.loop.speakable``.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

_PICTURES: Final = "\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2300-\u23ff\u25a0-\u25ff"
_JOINTS: Final = "\ufe0e\ufe0f\u200d\u20e3\U000e0020-\U000e007f"
# A zero-width joiner alone belongs to a script that needs it; only among pictures does it go.
_EMOJI: Final = re.compile(f"[{_PICTURES}][{_PICTURES}{_JOINTS}]*|[\ufe0e\ufe0f\u20e3]+")
_FENCE: Final = re.compile(r"^[ \t]*(?:```|~~~)[\w+#.-]*[ \t]*$|```", re.MULTILINE)
_TABLE_RULE: Final = re.compile(r"^[ \t]*\|?[ \t]*:?-{3,}:?[ \t]*(?:\|[ \t]*:?-{3,}:?[ \t]*)*\|?[ \t]*$", re.MULTILINE)
_TABLE_ROW: Final = re.compile(r"^[ \t]*\|(.+)\|[ \t]*$", re.MULTILINE)
_RULE: Final = re.compile(r"^[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*$", re.MULTILINE)
_HEADING: Final = re.compile(r"^[ \t]*#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
_QUOTE: Final = re.compile(r"^[ \t]*(?:>[ \t]?)+", re.MULTILINE)
_BULLET: Final = re.compile(r"^[ \t]*[-*+•][ \t]+(?:\[[ xX]\][ \t]+)?", re.MULTILINE)
_LINK: Final = re.compile(r"!?\[([^\[\]]*)\]\((?:<[^>]*>|[^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+\"[^\"]*\")?\)")
_REFERENCE: Final = re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]")
_TAG: Final = re.compile(
    r"</?(?:br|[biup]|em|strong|div|span|code|pre|[uo]l|li|su[bp]|h[1-6r])\b[^<>]*>", re.IGNORECASE
)
_STARS: Final = re.compile(r"(?<!\d)\*\*|\*\*(?!\d)|(?<!\w)\*+(?=\S)|(?<=\S)\*+(?!\w)|~~")
_UNDERSCORES: Final = re.compile(r"(?<!\w)_+(?=\S)|(?<=[^\W_])_+(?!\w)|(?<=[.,!?])_+(?!\w)")
_ESCAPED: Final = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|>~])")
_ADDRESS: Final = re.compile(r"<?\b(?:https?://|ftp://|www\.)[^\s<>]*[^\s<>.,;:!?)\]}'\"”’»*_]>?", re.IGNORECASE)


def strip_markup(text: str) -> str:
    """The text's words without its markup; addresses shortened to their host. Line ends stay."""
    text = _EMOJI.sub(" ", text)
    text = _FENCE.sub("", text)
    text = _TABLE_RULE.sub("", text)
    text = _TABLE_ROW.sub(_row, text)
    text = _RULE.sub("", text)
    text = _HEADING.sub(r"\1", text)
    text = _QUOTE.sub("", text)
    text = _BULLET.sub("", text)
    text = _LINK.sub(r"\1", text)
    text = _REFERENCE.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _ADDRESS.sub(_host, text)
    text = _UNDERSCORES.sub("", _STARS.sub("", text))
    return _ESCAPED.sub(r"\1", text.replace("`", ""))


def _row(match: re.Match[str]) -> str:
    cells = [cell.strip() for cell in match[1].split("|")]
    return ", ".join(cell for cell in cells if cell) + "."


def _host(match: re.Match[str]) -> str:
    address = match[0].strip("<>")
    try:
        host = urlsplit(address if "://" in address else f"//{address}").hostname
    except ValueError:
        host = None
    return (host or address).removeprefix("www.")
