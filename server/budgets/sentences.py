"""What people are told about money and quotas, in their language, as data.

Plain sentences; a language that is not here gets English. ``yes`` and ``no`` are how people answer being asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class BudgetWords:
    """``used`` has the percent; ``ask`` follows it where the user is asked."""

    used: str
    ask: str
    spent: str
    quota: str
    away: str
    closed: str
    burst: str
    declined: str
    yes: frozenset[str]
    no: frozenset[str]


ENGLISH: Final = BudgetWords(
    "{percent} percent of the budget is used.",
    "Shall I go on? Please say yes or no.",
    "The budget is used up, so I cannot answer now. Please ask whoever looks after it.",
    "The quota is used up, so I cannot answer now. Please try again later.",
    "I cannot check the budget just now, so I cannot answer. Please try again in a moment.",
    "This cannot be used now, because its price is not known. Please tell whoever runs this service.",
    "That was a lot at once. Please wait a moment.",
    "All right, I'll stop here. Say yes whenever you want to go on.",
    frozenset("yes|yeah|yep|sure|okay|ok|go on|go ahead|continue|please do|yes please|of course".split("|")),
    frozenset("no|nope|stop|no thanks|no thank you|don't|not now".split("|")),
)
_BY_LANGUAGE: Final[Mapping[str, BudgetWords]] = {
    "en": ENGLISH,
    "de": BudgetWords(
        "{percent} Prozent des Budgets sind verbraucht.",
        "Soll ich weitermachen? Bitte sag ja oder nein.",
        "Das Budget ist aufgebraucht, ich kann gerade nicht antworten. Bitte wende dich an die zuständige Person.",
        "Das Kontingent ist aufgebraucht, ich kann gerade nicht antworten. Bitte versuche es später noch einmal.",
        "Ich kann das Budget gerade nicht prüfen und deshalb nicht antworten. Bitte versuche es gleich noch einmal.",
        "Das geht gerade nicht, weil der Preis nicht bekannt ist. Bitte sag es denen, die diesen Dienst betreiben.",
        "Das war viel auf einmal. Bitte warte einen Moment.",
        "Gut, ich höre hier auf. Sag ja, wenn du weitermachen möchtest.",
        frozenset("ja|ja bitte|jawohl|okay|ok|klar|gerne|mach weiter|weiter|natürlich".split("|")),
        frozenset("nein|nein danke|stopp|stop|nicht jetzt|lieber nicht".split("|")),
    ),
    "es": BudgetWords(
        "Se ha usado el {percent} por ciento del presupuesto.",
        "¿Sigo? Di sí o no, por favor.",
        "El presupuesto se ha agotado y ahora no puedo responder. Consulta a la persona responsable.",
        "La cuota se ha agotado y ahora no puedo responder. Inténtalo más tarde.",
        "Ahora no puedo comprobar el presupuesto y no puedo responder. Inténtalo dentro de un momento.",
        "Ahora no se puede usar porque no se conoce su precio. Avisa a quien gestiona este servicio.",
        "Ha sido mucho de una vez. Espera un momento, por favor.",
        "De acuerdo, lo dejo aquí. Di sí cuando quieras seguir.",
        frozenset("sí|si|claro|vale|adelante|sigue|continúa|por supuesto|sí por favor".split("|")),
        frozenset("no|no gracias|para|ahora no".split("|")),
    ),
    "fr": BudgetWords(
        "{percent} pour cent du budget sont utilisés.",
        "Dois-je continuer ? Dites oui ou non.",
        "Le budget est épuisé, je ne peux pas répondre. Adressez-vous à la personne responsable.",
        "Le quota est épuisé, je ne peux pas répondre. Réessayez plus tard.",
        "Je ne peux pas vérifier le budget pour l'instant, donc je ne peux pas répondre. Réessayez dans un moment.",
        "Ce n'est pas possible, car le prix n'est pas connu. Prévenez la personne qui gère ce service.",
        "C'était beaucoup d'un coup. Merci de patienter un instant.",
        "D'accord, je m'arrête ici. Dites oui pour continuer.",
        frozenset("oui|ouais|d'accord|ok|okay|bien sûr|continue|continuez|vas-y|allez-y|oui merci".split("|")),
        frozenset("non|non merci|stop|pas maintenant|arrête|arrêtez".split("|")),
    ),
    "it": BudgetWords(
        "È stato usato il {percent} per cento del budget.",
        "Vado avanti? Rispondi sì o no.",
        "Il budget è esaurito e ora non posso rispondere. Rivolgiti a chi se ne occupa.",
        "La quota è esaurita e ora non posso rispondere. Riprova più tardi.",
        "Ora non riesco a verificare il budget e non posso rispondere. Riprova tra un momento.",
        "Ora non si può usare, perché il prezzo non è noto. Avvisa chi gestisce questo servizio.",
        "È stato molto in una volta. Aspetta un momento, per favore.",
        "Va bene, mi fermo qui. Di' sì quando vuoi continuare.",
        frozenset("sì|si|certo|va bene|ok|okay|vai|vai avanti|continua|prego|sì grazie".split("|")),
        frozenset("no|no grazie|basta|stop|non adesso|non ora|fermati".split("|")),
    ),
}


def words_for(locale: str) -> BudgetWords:
    """The sentences of a locale's language."""
    return _BY_LANGUAGE.get(locale.replace("_", "-").partition("-")[0].lower(), ENGLISH)


def answer_of(text: str, words: BudgetWords) -> bool | None:
    """Whether somebody who was asked said yes or no; ``None``: neither."""
    said = " ".join("".join(c if c.isalnum() or c in "'-" else " " for c in text.lower()).split())
    for known, meant in ((words.no, False), (words.yes, True)):
        if said in known or any(said.startswith(f"{word} ") for word in known if len(said.split()) <= 4):
            return meant
    return None
