"""The settings' section about latency: which budget sessions get, what is otherwise in it, and how far clients may go.

What a budget means is told in ``agents.core.budget``; the profiles are beside it. Who gets which is chosen by
``server.latency_choice``. See ``server.settings``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from agents.core.budget import Action, BudgetError, LatencyBudget, Permission, Stage, StageChange
from agents.core.budget_profiles import PROFILES, Profile, profile
from agents.core.draft_allowance import WASTE_SHARE
from server.rule_settings import SessionRule
from server.setting_types import Section, comma_separated

Actions = Annotated[tuple[Action, ...], NoDecode, BeforeValidator(comma_separated)]


class StageSettings(Section):
    """What is otherwise in one stage; what is not said stays as the profile has it."""

    target_ms: int | None = None
    deadline_ms: int | None = None
    on_breach: Actions | None = None

    def change(self, *, whole: bool) -> StageChange:
        """The change to a budget: all of it (``whole``), or the actions alone."""
        if whole:
            return StageChange(self.target_ms, self.deadline_ms, self.on_breach)
        return StageChange(on_breach=self.on_breach)


Stages = dict[Stage, StageSettings]


class LatencyRule(SessionRule):
    """Another profile, or other stages, for the sessions it is meant for. The first rule that matches decides."""

    profile: Profile | None = None
    stages: Stages = Field(default_factory=dict[Stage, StageSettings])

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.profile is None and not self.stages:
            raise ValueError("a latency rule must say profile or stages")
        return self


class LatencySettings(Section):
    """How long turns may take, and what is done when they take longer.

    ``profile`` is what sessions get by default; ``auto`` is ``azure`` where an engine in use is a service, else
    ``embedded``. ``stages`` say what is otherwise in it. Their times belong to that profile, because another one has
    times of its own; their actions say what this server does at all, so they hold in every profile. ``tightest`` and
    ``loosest`` bound the deadlines that clients may ask for, as multiples of the operator's. ``enforce`` false holds no
    turn to its budget; ``speculate`` false makes no draft before a turn is certain. ``waste_share`` bounds what drafts
    may waste of a tenant's model tokens.
    """

    profile: Literal["auto", Profile] = "auto"
    stages: Stages = Field(default_factory=dict[Stage, StageSettings])
    rules: tuple[LatencyRule, ...] = ()
    tightest: float = Field(default=0.5, gt=0, le=1)
    loosest: float = Field(default=3.0, ge=1, le=100)
    enforce: bool = True
    speculate: bool = True
    waste_share: float = Field(default=WASTE_SHARE, ge=0, le=1)

    @property
    def permission(self) -> Permission:
        """How far clients may move from the operator's budget."""
        return Permission(self.tightest, self.loosest)

    def budget(self, name: Profile, rule: LatencyRule | None, default: Profile) -> LatencyBudget:
        """The operator's budget of profile ``name`` for sessions that ``rule`` is meant for.

        ``default`` is the profile the section's own times are meant for. Raises BudgetError.
        """
        changes: dict[Stage, StageChange] = {
            stage: settings.change(whole=name == default) for stage, settings in self.stages.items()
        }
        if rule is not None:
            whole = name == (rule.profile or default)
            for stage, settings in rule.stages.items():
                changes[stage] = _over(changes.get(stage, StageChange()), settings.change(whole=whole))
        return profile(name).changed(changes)

    def check(self, defaults: tuple[Profile, ...]) -> None:
        """Raise BudgetError, naming the rule, where a budget that some session may get makes no sense.

        ``defaults`` are the profiles that ``profile`` may stand for on this server.
        """
        for number, rule in ((None, None), *enumerate(self.rules)):
            where = "latency" if number is None else f"latency.rules.{number}"
            for default in defaults:
                for name in PROFILES:
                    try:
                        self.budget(name, rule, default)
                    except BudgetError as error:
                        raise BudgetError(f"{where}: {error}") from error


def _over(old: StageChange, new: StageChange) -> StageChange:
    """Both changes; where both say something, the new one counts."""
    return StageChange(
        old.target_ms if new.target_ms is None else new.target_ms,
        old.deadline_ms if new.deadline_ms is None else new.deadline_ms,
        old.on_breach if new.on_breach is None else new.on_breach,
    )
