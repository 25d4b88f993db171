"""The calls one completion makes of models that stand in for each other, for the turn's log of calls.

Owns which of the calls under way is whose: two may be while a model is hedged. Driven by ``agents.loop.agent``; knows
no model.
"""

from __future__ import annotations

from agents.call_log import CallLog, OpenCall
from agents.models.port import AnsweredBy, Asked, ModelProfile, Overtaken


class ModelCalls:
    """See the module. Whatever is open when the completion ends is closed by the log."""

    def __init__(self, log: CallLog, asked: ModelProfile) -> None:
        """``asked`` is who is asked as far as is known: models that stand in for each other tell."""
        self.current = log.open("chat", asked.provider, asked.model)
        """The call that answers, or will."""
        self._log = log
        self._under_way: list[tuple[ModelProfile, OpenCall]] = []
        self._is_told = False

    def note(self, event: Asked | Overtaken | AnsweredBy) -> None:
        """Who is asked, given up, or answers."""
        match event:
            case Asked(profile):
                self._under_way.append((profile, self._opened(profile)))
            case Overtaken(profile):
                call = self._take(profile)
                if call is not None:
                    call.close("stopped" if event.error_code is None else "failed", event.error_code)
            case AnsweredBy(profile):
                self.current = self._take(profile) or self.current
                self.current.answered_by(profile.provider, profile.model)

    def _opened(self, profile: ModelProfile) -> OpenCall:
        if self._is_told:
            return self._log.open("chat", profile.provider, profile.model)
        self._is_told = True
        self.current.answered_by(profile.provider, profile.model)
        return self.current

    def _take(self, profile: ModelProfile) -> OpenCall | None:
        """The call of a model of this name that began first: deployments in two regions may share it."""
        for number, (asked, call) in enumerate(self._under_way):
            if asked == profile:
                del self._under_way[number]
                return call
        return None
