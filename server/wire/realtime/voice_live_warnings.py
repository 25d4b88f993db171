"""What a Voice Live client may ask for and does not get here, and what happens instead: in sentences, by parameter.

Pure. Only what was asked for is judged, and nothing that really works is mentioned. Driven by ``voice_live_config``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from server.wire.realtime.voice_live_parts import (
    AnyInterim,
    AnyVad,
    AnyVoice,
    AzureVoice,
    LlmInterim,
    Reply,
    Session,
    Transcription,
)
from server.wire.realtime.voice_live_voices import FASTEST, SLOWEST, name_of, pace_of

Warned = tuple[str, str]
"""Parameter and sentence."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What this server's engines can do. ``languages`` are two-letter codes; an empty collection means unknown.

    ``visemes``: whether the voice tells its mouth shapes.
    """

    voices: tuple[str, ...] = ()
    voice_locales: frozenset[str] = field(default_factory=frozenset[str])
    languages: frozenset[str] = field(default_factory=frozenset[str])
    visemes: bool = False

    def recognises(self, language: str) -> bool:
        """Whether speech in this language (BCP 47) can be recognised."""
        return not self.languages or _code(language) in self.languages

    def speaks(self, locale: str) -> bool:
        """Whether a voice speaks this very locale."""
        return not self.voice_locales or locale.lower() in {known.lower() for known in self.voice_locales}


_MAX_PADDING_MS: Final = 1_000
_VOICE: Final = {
    "temperature": "The voice always speaks the same way; its temperature has no effect.",
    "custom_lexicon_url": "Nothing is fetched from this address; words are pronounced as the voice knows them.",
    "custom_text_normalization_url": "Nothing is fetched from this address; text is read by the server's own rules.",
    "prefer_locales": "The voice has one accent.",
    "style": "The voice has one style.",
    "pitch": "The voice speaks at its own pitch.",
    "volume": "The voice speaks at its own volume; set it where it is played.",
}
_NEUTRAL: Final = frozenset({"default", "medium"})
_NOTHING: Final = {
    "input_audio_noise_reduction": "Noise is not taken out: audio is recognised as it comes. Turn on noise "
    "suppression where it is recorded.",
    "input_audio_echo_cancellation": "Echo is not cancelled here. Turn on echo cancellation where the audio is "
    "recorded, or use headphones.",
    "avatar": "There is no avatar; the answer is audio and text.",
    "reasoning_effort": "How much the model reasons is not set here; it does as it is configured.",
}


def session_warnings(asked: Session, model: str, abilities: Abilities) -> list[Warned]:
    """About what one ``session.update`` asked for, in a session of ``model``."""
    return [(f"session.{param}", said) for param, said in _of_session(asked, model, abilities)]


def reply_warnings(asked: Reply, abilities: Abilities) -> list[Warned]:
    """About what one ``response.create`` asked for."""
    return [(f"response.{param}", said) for param, said in _of_reply(asked, abilities)]


def _of_session(asked: Session, model: str, abilities: Abilities) -> Iterator[Warned]:
    if asked.model not in {None, model}:
        yield "model", f"The model of a session is settled when it begins; '{model}' stays."
    for name, said in _NOTHING.items():
        if getattr(asked, name) is not None:
            yield name, said
    yield from _modalities(asked.modalities, abilities)
    yield from _animation(asked, abilities)
    yield from _voice(asked.voice, abilities)
    yield from _detection(asked.turn_detection, abilities)
    yield from _transcription(asked.input_audio_transcription, abilities)
    yield from _interim(asked.interim_response)
    yield from _include(asked.include or ())
    if asked.parallel_tool_calls is False:
        yield "parallel_tool_calls", "The model decides how many tools it calls at once."


def _of_reply(asked: Reply, abilities: Abilities) -> Iterator[Warned]:
    yield from _modalities(asked.modalities, abilities)
    yield from _voice(asked.voice, abilities)
    if asked.reasoning_effort is not None:
        yield "reasoning_effort", _NOTHING["reasoning_effort"]
    if asked.interim_response is not None:
        yield "interim_response", "Interim responses are a setting of the session; the session's holds."


def _modalities(asked: tuple[str, ...] | None, abilities: Abilities) -> Iterator[Warned]:
    for modality in ("avatar",) if abilities.visemes else ("animation", "avatar"):
        if asked is not None and modality in asked:
            yield "modalities", f"There is no {modality}; the answer is audio and text."


def _animation(asked: Session, abilities: Abilities) -> Iterator[Warned]:
    outputs = () if asked.animation is None else asked.animation.outputs or ()
    if "viseme_id" in outputs and not abilities.visemes:
        yield (
            "animation.outputs",
            "The voice gives no visemes; word times (output_audio_timestamp_types) are to be had.",
        )
    if "blendshapes" in outputs:
        yield "animation.outputs", "There are no blendshapes; the answer is audio and text."


def _voice(asked: str | AnyVoice | None, abilities: Abilities) -> Iterator[Warned]:
    if asked is None:
        return
    name = name_of(asked)
    if name not in {"default", *abilities.voices}:
        instead = f"'{abilities.voices[0]}'" if abilities.voices else "the agent's own"
        named = "a voice that fits an avatar" if name is None else f"a voice named '{name}'"
        yield "voice", f"There is not {named} here; {instead} speaks."
    if isinstance(asked, AzureVoice):
        yield from _manner(asked, abilities)


def _manner(asked: AzureVoice, abilities: Abilities) -> Iterator[Warned]:
    for name, said in _VOICE.items():
        if getattr(asked, name) not in {None, *_NEUTRAL}:
            yield f"voice.{name}", said
    pace = pace_of(asked.rate)
    if not SLOWEST <= pace <= FASTEST:
        yield (
            "voice.rate",
            f"Speech is between {SLOWEST:g} and {FASTEST:g} times its normal pace; the nearest is taken.",
        )
    if asked.locale is not None and not abilities.speaks(asked.locale):
        spoken = ", ".join(sorted(abilities.voice_locales))
        yield "voice.locale", f"The voice does not speak {asked.locale}; it speaks {spoken}."


def _detection(asked: AnyVad | None, abilities: Abilities) -> Iterator[Warned]:
    if asked is None:
        return
    if asked.auto_truncate is False:
        yield "turn_detection.auto_truncate", "What is remembered of an answer always ends where the user stopped it."
    for name in ("prefix_padding_ms", "speech_duration_ms"):
        if (getattr(asked, name, None) or 0) > _MAX_PADDING_MS:
            yield f"turn_detection.{name}", f"At most {_MAX_PADDING_MS} ms; that is taken."
    unknown = [one for one in getattr(asked, "languages", None) or () if not abilities.recognises(one)]
    if unknown:
        yield "turn_detection.languages", _languages(unknown, abilities)


def _transcription(asked: Transcription | None, abilities: Abilities) -> Iterator[Warned]:
    if asked is None:
        return
    if asked.custom_speech is not None:
        yield "input_audio_transcription.custom_speech", "There are no custom speech models; the server's own is used."
    languages = languages_of(asked)
    unknown = [one for one in languages if not abilities.recognises(one)]
    if unknown:
        yield "input_audio_transcription.language", _languages(unknown, abilities)
    elif len(languages) > 1:
        said = f"A session has one language, which is not detected; it is {languages[0]}."
        yield "input_audio_transcription.language", said


def _interim(asked: AnyInterim | None) -> Iterator[Warned]:
    if asked is None:
        return
    if "tool" in (asked.triggers or ()):
        yield "interim_response.triggers", "A tool call alone fills no pause; an answer that takes long does."
    if isinstance(asked, LlmInterim):
        yield "interim_response.type", "No model writes interim responses; the server has sentences of its own."


def _include(asked: tuple[str, ...]) -> Iterator[Warned]:
    for name in asked:
        if name != PHRASES:
            yield "include", f"'{name}' is not to be had and is left out."


PHRASES: Final = "item.input_audio_transcription.phrases"


def languages_of(asked: Transcription) -> list[str]:
    """The languages of a transcription, in order."""
    return [one.strip() for one in (asked.language or "").split(",") if one.strip()]


def _languages(unknown: list[str], abilities: Abilities) -> str:
    known = ", ".join(sorted(abilities.languages))
    return f"Speech in {', '.join(unknown)} cannot be recognised here; it is taken for one of: {known}."


def _code(language: str) -> str:
    return language.partition("-")[0].lower()
