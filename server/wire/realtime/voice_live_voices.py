"""What a Voice Live client's voice means to us: a name and a pace. Pure."""

from __future__ import annotations

from typing import Final

from server.wire.realtime.voice_live_parts import RATES, AnyVoice, AvatarVoice, AzureVoice

SLOWEST: Final = 0.5
FASTEST: Final = 2.0
"""What our voices can do, as multiples of their own pace."""


def name_of(voice: str | AnyVoice | None) -> str | None:
    """The voice's name, where it has one."""
    match voice:
        case None | AvatarVoice():
            return None
        case str():
            return voice
        case _:
            return voice.name


def locale_of(voice: str | AnyVoice | None) -> str | None:
    """The language the voice is to speak, where the client says."""
    return voice.locale if isinstance(voice, AzureVoice) else None


def speed_of(voice: str | AnyVoice | None) -> float:
    """The pace, 1.0 being the voice's own, within what our voices can do."""
    return min(FASTEST, max(SLOWEST, pace_of(voice.rate))) if isinstance(voice, AzureVoice) else 1.0


def pace_of(rate: str | None) -> float:
    """An SSML rate as a multiple: a name, a change in percent, or the multiple itself."""
    if rate is None:
        return 1.0
    if (named := RATES.get(rate)) is not None:
        return named
    if rate.endswith("%"):
        return 1.0 + float(rate[:-1]) / 100
    return float(rate)
