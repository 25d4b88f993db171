"""What Twilio is told to do with a call, in TwiML. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

TWIML: Final = "text/xml"
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>'


def connect(stream_url: str, parameters: Mapping[str, str]) -> str:
    """Connect the call with a media stream; when that ends, the call does."""
    given = "".join(
        f"<Parameter name={quoteattr(name)} value={quoteattr(value)}/>" for name, value in parameters.items() if value
    )
    return _response(f"<Connect><Stream url={quoteattr(stream_url)}>{given}</Stream></Connect><Hangup/>")


def dial(number: str, whisper_url: str | None, timeout_s: int) -> str:
    """Connect the call with somebody else, who first hears what ``whisper_url`` says."""
    noun = "Sip" if number.startswith(("sip:", "sips:")) else "Number"
    url = "" if whisper_url is None else f" url={quoteattr(whisper_url)}"
    return _response(f'<Dial timeout="{timeout_s}"><{noun}{url}>{escape(number)}</{noun}></Dial>')


def say(text: str, language: str) -> str:
    """Say something."""
    return _response(f"<Say language={quoteattr(language)}>{escape(text)}</Say>")


def hang_up() -> str:
    """End the call."""
    return _response("<Hangup/>")


def _response(inside: str) -> str:
    return f"{_HEAD}<Response>{inside}</Response>"
