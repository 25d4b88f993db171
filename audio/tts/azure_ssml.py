"""SSML of a phrase: our markup around escaped text. What a user or a model said never becomes markup.

Pure. Sources: W3C SSML 1.1, and Azure's extensions (``mstts``). Driven by ``audio.tts.azure``.
"""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from audio.azure.settings import AzureVoice

_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_VOICE_NAME: Final = re.compile(r"[A-Za-z]{2,3}-[A-Za-z0-9]+(-[A-Za-z0-9:]+)+")
_LOCALE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]+)*")
_SLOWEST: Final = 0.5
_FASTEST: Final = 2.0


def plain(text: str) -> str:
    """Text without characters XML cannot carry, escaped."""
    return escape(_NOT_XML.sub(" ", text))


def voice_name(wanted: str | None, default: str) -> str:
    """The voice asked for, if it could be the name of one; names never carry markup."""
    return wanted if wanted is not None and _VOICE_NAME.fullmatch(wanted) else default


def rate_percent(rate: float) -> str:
    """``1.25`` as ``+25%``; the service speaks at 0.5 to 2 times the voice's pace."""
    return f"{round((min(max(rate, _SLOWEST), _FASTEST) - 1.0) * 100):+d}%"


def ssml(text: str, locale: str, name: str, rate: float, voice: AzureVoice) -> str:
    """A whole document that speaks ``text`` with a voice by name, at a rate, in the style of ``voice``."""
    language = locale if _LOCALE.fullmatch(locale) else "en-US"
    body = plain(text)
    prosody = {
        "rate": None if abs(rate - 1.0) < 0.005 else rate_percent(rate),
        "pitch": voice.pitch,
        "volume": voice.volume,
    }
    body = _element("prosody", prosody, body) if any(prosody.values()) else body
    degree = None if voice.style is None or voice.style_degree is None else f"{voice.style_degree:g}"
    manner = {"style": voice.style, "styledegree": degree, "role": voice.role}
    body = _element("mstts:express-as", manner, body) if any(manner.values()) else body
    pauses = (
        ("Leading-exact", voice.leading_silence_ms),
        ("Tailing-exact", voice.trailing_silence_ms),
        ("Sentenceboundary-exact", voice.sentence_pause_ms),
    )
    before = "".join(
        _element("mstts:silence", {"type": kind, "value": f"{length_ms}ms"})
        for kind, length_ms in pauses
        if length_ms is not None
    )
    if voice.lexicon_uri is not None:
        before = _element("lexicon", {"uri": voice.lexicon_uri}) + before
    return _element(
        "speak",
        {
            "version": "1.0",
            "xmlns": "http://www.w3.org/2001/10/synthesis",
            "xmlns:mstts": "https://www.w3.org/2001/mstts",
            "xml:lang": language,
        },
        _element("voice", {"name": name}, before + body),
    )


def _element(name: str, attributes: dict[str, str | None], body: str | None = None) -> str:
    written = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items() if value is not None)
    return f"<{name}{written}/>" if body is None else f"<{name}{written}>{body}</{name}>"
