"""What a reply is made of, and how long it may keep silent: values that the loop gives and whoever answers reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.models.port import AnsweredBy, Asked, ContentFilter, ModelProfile, Overtaken, TokenUsage, ToolRequest
from agents.tools.runner import ToolOutcome


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How long a reply may keep silent: until the model's first event of a round, and between its events.

    Where models stand in for each other, ``within_s`` is when the first of the reply is needed, and ``hedge`` whether
    two of them may be asked for it; rounds after tools know no such hurry.
    """

    first_event_s: float
    gap_s: float
    within_s: float | None = None
    hedge: bool = False


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """The next piece of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool is about to run."""

    request: ToolRequest


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool answered, or failed."""

    request: ToolRequest
    outcome: ToolOutcome


@dataclass(frozen=True, slots=True)
class ToolHandedOver:
    """A tool of the client's is wanted: the reply ends here, and the client brings the result."""

    request: ToolRequest


@dataclass(frozen=True, slots=True)
class ReplyFinished:
    """The reply is whole. ``reason`` is the last round's; ``tools`` where the rounds ran out, or the client's tools
    have the next word; ``filtered`` where a content filter refused, with its ``verdict``. Where several models can
    answer, each round may be another's: ``by_model`` divides ``usage``."""

    usage: TokenUsage
    tool_calls: int
    reason: Literal["stop", "length", "tools", "filtered"]
    verdict: ContentFilter | None = None
    by_model: tuple[tuple[ModelProfile, TokenUsage], ...] = ()


WhoAnswers = Asked | Overtaken | AnsweredBy
"""Of models that stand in for each other: what ``ModelEvent`` says of them."""

ReplyPart = ReplyDelta | ToolStarted | ToolEnded | ToolHandedOver | WhoAnswers | ReplyFinished
"""Any number of the others, then exactly one ``ReplyFinished``."""
