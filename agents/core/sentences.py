"""What the agent says by itself when it cannot answer, as data: one entry for each language.

Plain sentences that promise nothing and blame nobody. A language that is not here gets English: words that can at
least be read. Driven by ``agents.core.language``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Sentences:
    """``apology`` where answering failed, ``refusal`` where a content filter forbids the answer, ``echo`` where the
    agent hears its own voice in the user's microphone."""

    apology: str
    refusal: str
    echo: str


ENGLISH: Final = Sentences(
    "Sorry, I could not answer that just now. Please try again.",
    "I'm sorry, I can't help with that.",
    "I can hear myself. Please use headphones, or turn the volume down.",
)
_BY_LANGUAGE: Final[Mapping[str, Sentences]] = MappingProxyType(
    {
        "en": ENGLISH,
        "da": Sentences(
            "Undskyld, det kunne jeg ikke svare på lige nu. Prøv igen.",
            "Det kan jeg desværre ikke hjælpe med.",
            "Jeg kan høre mig selv. Brug venligst hovedtelefoner, eller skru ned for lyden.",
        ),
        "de": Sentences(
            "Entschuldigung, das konnte ich gerade nicht beantworten. Bitte versuche es noch einmal.",
            "Es tut mir leid, dabei kann ich nicht helfen.",
            "Ich höre mich selbst. Bitte benutze Kopfhörer oder stelle den Ton leiser.",
        ),
        "es": Sentences(
            "Lo siento, ahora mismo no he podido responder. Inténtalo de nuevo.",
            "Lo siento, no puedo ayudar con eso.",
            "Me oigo a mí mismo. Usa auriculares o baja el volumen, por favor.",
        ),
        "fr": Sentences(
            "Désolé, je n'ai pas pu répondre à l'instant. Merci de réessayer.",
            "Je suis désolé, je ne peux pas vous aider sur ce point.",
            "Je m'entends moi-même. Merci d'utiliser un casque ou de baisser le volume.",
        ),
        "it": Sentences(
            "Mi dispiace, per ora non ho potuto rispondere. Riprova.",
            "Mi dispiace, non posso aiutarti con questo.",
            "Sento la mia stessa voce. Usa le cuffie o abbassa il volume, per favore.",
        ),
        "ja": Sentences(
            "申し訳ありません。今はお答えできませんでした。もう一度お試しください。",
            "申し訳ありませんが、そのお手伝いはできません。",
            "自分の声が聞こえています。ヘッドホンを使うか、音量を下げてください。",
        ),
        "nl": Sentences(
            "Sorry, ik kon daar nu geen antwoord op geven. Probeer het opnieuw.",
            "Sorry, daar kan ik niet mee helpen.",
            "Ik hoor mezelf. Gebruik een koptelefoon of zet het geluid zachter.",
        ),
        "pl": Sentences(
            "Przepraszam, nie udało mi się teraz odpowiedzieć. Spróbuj ponownie.",
            "Przepraszam, nie mogę w tym pomóc.",
            "Słyszę własny głos. Użyj słuchawek albo ścisz dźwięk.",
        ),
        "pt": Sentences(
            "Desculpe, não consegui responder agora. Tente novamente.",
            "Desculpe, não posso ajudar com isso.",
            "Estou ouvindo a minha própria voz. Use fones de ouvido ou baixe o volume, por favor.",
        ),
        "sv": Sentences(
            "Förlåt, jag kunde inte svara på det just nu. Försök igen.",
            "Tyvärr kan jag inte hjälpa till med det.",
            "Jag hör mig själv. Använd hörlurar eller sänk volymen.",
        ),
        "zh": Sentences(
            "抱歉，我刚才没能回答。请再试一次。",
            "抱歉，这件事我无法帮忙。",
            "我听到了自己的声音。请使用耳机，或者调低音量。",
        ),
    }
)


def sentences_for(locale: str) -> Sentences:
    """The sentences of a locale's language (``de-AT``)."""
    return _BY_LANGUAGE.get(locale.replace("_", "-").split("-", maxsplit=1)[0].lower(), ENGLISH)
