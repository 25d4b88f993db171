"""Whom a reply asked, and what those cost whose answer was not used.

Read from the events of models that stand in for each other, at every moment: a reply that is interrupted while two
models are at work has cost both. Knows no model and no money; driven by whoever accounts for a reply.
"""

from __future__ import annotations

from agents.models.port import AnsweredBy, Asked, ModelProfile, Overtaken


class AskedModels:
    """See the module. What the model that answers costs is no business of this."""

    def __init__(self) -> None:
        self.current: ModelProfile | None = None
        """Who answers, or is asked and would; ``None`` where only one model can be."""
        self._settled: list[Overtaken] = []
        self._open: list[Asked] = []
        self._is_answered = False

    @property
    def overtaken(self) -> list[Overtaken]:
        """Who was asked beside the current model; those still at work as if they were ended now."""
        beside = self._open if self._is_answered else self._open[1:]
        return [*self._settled, *(Overtaken(asked.profile, asked.usage) for asked in beside)]

    def note(self, event: Asked | Overtaken | AnsweredBy) -> None:
        """An event of the reply's models."""
        match event:
            case Asked():
                self._is_answered = False
                self._open.append(event)
            case Overtaken(profile, usage):
                self._close(profile)
                if usage.input_tokens or usage.output_tokens:
                    self._settled.append(event)
            case AnsweredBy(profile):
                self._close(profile)
                self._is_answered = True
                self.current = profile
        if self._open and not self._is_answered:
            self.current = self._open[0].profile

    def _close(self, profile: ModelProfile) -> None:
        """One of those of this name is done: deployments in two regions may share it."""
        number = next((n for n, asked in enumerate(self._open) if asked.profile == profile), None)
        if number is not None:
            del self._open[number]
