"""What a client is told where the user's turn came to nothing. Pure; driven by ``agents.core.session``."""

from __future__ import annotations

from agents.core.input_desk import EMPTY_INPUT
from agents.core.options import SessionOptions
from agents.core.turn_types import ReportUnheard
from agents.events import Failed


def apology(report: ReportUnheard, options: SessionOptions) -> str:
    """What the agent says to it; nothing where its budget does not have that."""
    says = report.failed and options.budget is not None and options.budget.does("stt", "apologize")
    return options.policy.rules.apology if says else ""


def unheard(report: ReportUnheard) -> Failed:
    """Recognition failed, or there were no words."""
    if report.failed:
        return Failed("provider.unavailable", "What you said could not be recognised.", True)
    message = "Nothing was said before the turn was committed."
    return Failed("request.invalid", message, True, details=EMPTY_INPUT)
