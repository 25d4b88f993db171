"""The voices the emulator says it has, in the shape of Azure's voices list. Pure.

Every name is spoken with the one voice the engine has; these few are listed so that a client finds what it knows.
"""

from __future__ import annotations

from typing import Any, Final

_VOICES: Final = (
    ("en-US", "AvaMultilingual", "Ava Multilingual", "Female", "English (United States)"),
    ("en-US", "AndrewMultilingual", "Andrew Multilingual", "Male", "English (United States)"),
    ("en-US", "Jenny", "Jenny", "Female", "English (United States)"),
    ("en-US", "Guy", "Guy", "Male", "English (United States)"),
    ("en-GB", "Sonia", "Sonia", "Female", "English (United Kingdom)"),
    ("de-DE", "Katja", "Katja", "Female", "German (Germany)"),
    ("it-IT", "Elsa", "Elsa", "Female", "Italian (Italy)"),
    ("fr-FR", "Denise", "Denise", "Female", "French (France)"),
    ("es-ES", "Elvira", "Elvira", "Female", "Spanish (Spain)"),
)


def voices_list() -> list[dict[str, Any]]:
    """For ``GET .../voices/list``."""
    return [
        {
            "Name": f"Microsoft Server Speech Text to Speech Voice ({locale}, {name}Neural)",
            "DisplayName": display,
            "LocalName": display,
            "ShortName": f"{locale}-{name}Neural",
            "Gender": gender,
            "Locale": locale,
            "LocaleName": locale_name,
            "SampleRateHertz": "24000",
            "VoiceType": "Neural",
            "Status": "GA",
            "StyleList": ["chat", "cheerful"] if name == "Jenny" else [],
            "WordsPerMinute": "150",
        }
        for locale, name, display, gender, locale_name in _VOICES
    ]
