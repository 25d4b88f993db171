"""Settings of OpenAI's that are taken and told back, and of which nothing comes here. Judged all the same."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from server.wire.realtime.config_parts import Part


class TokenLimits(Part):
    """How much of the conversation is kept."""

    post_instructions: Annotated[int, Field(ge=0)] | None = None


class RetentionRatio(Part):
    """How much is left when the conversation is cut."""

    type: Literal["retention_ratio"]
    retention_ratio: Annotated[float, Field(ge=0, le=1)]
    token_limits: TokenLimits | None = None


class Tracing(Part):
    """Where OpenAI would show the session."""

    workflow_name: str | None = None
    group_id: str | None = None
    metadata: dict[str, Any] | None = None


class Reasoning(Part):
    """How hard a model thinks."""

    effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None


class Prompt(Part):
    """A prompt kept at OpenAI's."""

    id: str
    version: str | None = None
    variables: dict[str, str] | None = None


TruncationField = Literal["auto", "disabled"] | RetentionRatio
TracingField = Literal["auto"] | Tracing
IncludeField = Annotated[
    tuple[Literal["item.input_audio_transcription.logprobs"], ...], Field(strict=False, max_length=8)
]
