"""Which latency budget a session gets: the operator's, by who asks, and the client's changes as far as permitted.

Pure. The settings' section is ``server.latency_settings``; what a budget means is told in ``agents.core.budget``.
Driven by ``server.host`` when a session begins or changes, and by ``server.budget_view`` for people who ask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents.core.budget import LatencyBudget, Permission, within
from agents.core.budget_profiles import Profile
from agents.core.policy import TurnPolicy
from server.contracts.latency_budget import LatencyBudgetSettings
from server.engine_rules import Asked, EngineRules, matches
from server.latency_settings import LatencyRule
from server.settings import Settings

UNENFORCED_FILLER_AFTER_MS: Final = 4_000
"""How long a speaker waits for an answer before the agent says that it is thinking, where no budget says it."""


@dataclass(frozen=True, slots=True)
class SessionLatency:
    """How a session keeps its time. ``enforced`` false: it is not held to its budget."""

    budget: LatencyBudget
    enforced: bool = True
    speculate: bool = True

    def waiting(self, longest_wait_ms: int) -> SessionLatency:
        """The same where a pause is waited for so long."""
        return replace(self, budget=self.budget.patient(longest_wait_ms))

    @property
    def enforced_budget(self) -> LatencyBudget | None:
        """What the session is to be held to."""
        return self.budget if self.enforced else None

    def policy(self, policy: TurnPolicy) -> TurnPolicy:
        """Turn-taking that keeps to it."""
        policy = replace(policy, speculate=policy.speculate and self.speculate)
        if not self.enforced:
            return replace(policy, filler_after_ms=UNENFORCED_FILLER_AFTER_MS)
        return within(policy, self.budget)


class LatencyChoice:
    """The budgets of one server."""

    def __init__(self, settings: Settings) -> None:
        self.permission: Permission = settings.latency.permission
        self.enforced = settings.latency.enforce
        self.speculates = settings.latency.speculate
        self._settings = settings
        self._engines = EngineRules(settings)
        self._with_account = {tenant.id for tenant in settings.tenants if tenant.azure is not None}

    def operators(self, asked: Asked, *, patient: bool = False) -> LatencyBudget:
        """What the operator chose for this session; ``patient``: it is a speaker's who needs more time."""
        rule, default = self._rule(asked), self._default(asked)
        if rule is not None and rule.profile is not None:
            name = rule.profile
        else:
            name = "accessibility" if patient else default
        return self._settings.latency.budget(name, rule, default)

    def named(self, name: Profile, asked: Asked) -> LatencyBudget:
        """A profile as this session would get it."""
        return self._settings.latency.budget(name, self._rule(asked), self._default(asked))

    def chosen(
        self, asked: Asked, wish: LatencyBudgetSettings | None = None, *, patient: bool = False
    ) -> SessionLatency:
        """What a session gets that wishes for this. Raises BudgetError where that goes beyond what is permitted."""
        wish = wish or LatencyBudgetSettings()
        patient = wish.profile == "accessibility" or (patient and wish.profile is None)
        operators = self.operators(asked, patient=patient)
        wanted = operators if wish.profile in (None, operators.name) else self.named(wish.profile, asked)
        wanted = wanted.changed(wish.changes)
        self.permission.check(operators, wanted)
        return SessionLatency(wanted, self.enforced, self.speculates)

    def by_phone(self, asked: Asked) -> SessionLatency:
        """What a telephone call gets: the profile for phone lines, where the operator named no other."""
        rule = self._rule(asked)
        named = self._settings.latency.profile != "auto" or (rule is not None and rule.profile is not None)
        budget = self.operators(asked) if named else self.named("telephony", asked)
        return SessionLatency(budget, self.enforced, self.speculates)

    def _rule(self, asked: Asked) -> LatencyRule | None:
        return next((rule for rule in self._settings.latency.rules if matches(rule, asked)), None)

    def _default(self, asked: Asked) -> Profile:
        """The profile for engines in this process (``embedded``), or for services (``azure``)."""
        settings = self._settings
        if settings.latency.profile != "auto":
            return settings.latency.profile
        engines = (*self._engines.stt(asked).engines, *self._engines.tts(asked).engines)
        served = settings.azure.usable or asked.tenant_id in self._with_account
        return "azure" if settings.model.kind == "openai" or (served and "azure" in engines) else "embedded"
