"""Before anything is spent: what a turn asks of its session's purse, and how the answer is told.

Pure. Driven by ``agents.core.answering``, the turn desk and the session; the port is ``agents.core.spending``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from agents.core.options import Engines
from agents.core.spending import Denied, Most
from agents.events import Degraded, Failed
from agents.loop.agent import AgentSpec
from agents.models.port import Message
from agents.models.tokens import estimate_message_tokens

_TOOL_TOKENS: Final = 160
"""About what a tool's description takes in a prompt."""
_DOUBT: Final = 1.25
"""How much more than estimated a prompt may be."""


def prompt_most(messages: Sequence[Message], spec: AgentSpec) -> Most:
    """The most an answer to these messages may take of a model."""
    prompt = sum(estimate_message_tokens(message) for message in messages) + _TOOL_TOKENS * len(spec.tools)
    rounds = 1 + (spec.max_tool_rounds if spec.tools else 0)
    return Most(round(prompt * _DOUBT), spec.max_output_tokens, rounds)


def asked(question: str, messages: Sequence[Message]) -> str:
    """What the user said last, as far as a turn knows: an answer to being asked, perhaps."""
    last = next((message.text for message in reversed(messages) if message.role == "user"), "")
    return question or last


def affords(engines: Engines) -> Callable[[int], bool]:
    """Whether so many samples may be recognised, by the session's purse."""
    return (lambda _: True) if engines.spending is None else engines.spending.affords


def unaffordable(engines: Engines) -> Denied | None:
    """Why speech is not recognised now, where the session's purse is the reason."""
    return None if engines.spending is None else engines.spending.denied


def told(denied: Denied, turn_id: str | None = None) -> Failed:
    """A denial in the client's words."""
    return Failed(denied.code, denied.message, denied.retryable, turn_id, denied.details)


def downgrade(engines: Engines, cheapest: Engines) -> Degraded:
    """What the client is told when those take over."""
    return Degraded(_names(engines), _names(cheapest), "budget")


def _names(engines: Engines) -> str:
    who = [engines.agent.profile.provider]
    if engines.stt is not None:
        who.insert(0, engines.stt.profile.provider)
    if engines.tts is not None:
        who.append(engines.tts.profile.provider)
    return ", ".join(dict.fromkeys(who))
