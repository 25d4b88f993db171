"""Conversations within a latency budget, with engines at fault: what its dialogue tests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from conversation import Script, Talk, conversation
from faulty_engines import Draw, Faulty, FaultyEars, FaultyModel
from virtual_time import run_virtual

from agents.core.budget import within
from agents.core.budget_profiles import profile
from agents.core.language import rules_for
from agents.core.policy import TurnPolicy
from agents.events import AudioOut, TurnCompleted
from agents.latency_events import BudgetBreached
from agents.models.port import LanguageModel
from audio.stt.port import SpeechToText
from metering.ledger import UsageQuery, read_all

AZURE = profile("azure")
FILLERS = rules_for("en-US").fillers
STOPPED_MS = 1_000
"""When the user stops speaking."""


def script(**changes: Any) -> Script:
    """A conversation within the budget for services."""
    budget = changes.pop("budget", AZURE)
    policy = TurnPolicy(min_wait_ms=300, wait_ms=300, max_wait_ms=900, rules=rules_for("en-US"))
    return Script(policy=within(policy, budget), options={"budget": budget}, **changes)


def play(script: Script, body: Callable[[Talk], Awaitable[None]] | None = None) -> Talk:
    async def main() -> Talk:
        async with conversation(script) as talk:
            await (body or ask)(talk)
        for event in read_all(talk.recorder.ledger, UsageQuery()):  # whatever was told is in the account
            told = [breach for breach in talk.all(BudgetBreached) if breach.turn_id == event.request_id]
            assert event.breaches == {breach.stage: breach.action for breach in told}
        return talk

    return run_virtual(main())


async def ask(talk: Talk) -> None:
    await talk.speak(STOPPED_MS)
    await talk.until(TurnCompleted)


def slow_mind(draw: Draw, slow_s: float = 2.0) -> Callable[[LanguageModel], LanguageModel]:
    return lambda model: FaultyModel(model, Faulty(draw, slow_s))


def deaf_ears(draw: Draw, *, partials: bool = True) -> Callable[[SpeechToText], SpeechToText]:
    return lambda stt: FaultyEars(stt, Faulty(draw), partials=partials)


def breaches(talk: Talk) -> list[tuple[str, str]]:
    return [(breach.stage, breach.action) for breach in talk.all(BudgetBreached)]


def after_speech_ms(talk: Talk, kind: type[Any]) -> float:
    return talk.when_ms(kind) - STOPPED_MS


def thinking_ms(talk: Talk) -> float:
    """From the end of the turn, as silence tells it, to the first audio."""
    return after_speech_ms(talk, AudioOut) - talk.options.policy.min_wait_ms
