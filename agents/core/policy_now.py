"""How a session takes turns at this moment: its policy, and what the conversation and the tenant's spending make of it.

Pure but for what it asks. Driven by the session, before every step of the turn machine, which knows neither.
"""

from __future__ import annotations

from dataclasses import replace

from agents.core.endpoint_context import asked_for
from agents.core.options import Engines, SessionOptions
from agents.core.policy import TurnPolicy
from agents.loop.history import History


def policy_now(options: SessionOptions, history: History, engines: Engines) -> TurnPolicy:
    """The policy, knowing what the agent asked for; without drafts while the tenant's allowance for them is spent."""
    policy, drafts = options.policy, engines.drafts
    if policy.speculate and drafts is not None and not drafts.may_draft():
        policy = replace(policy, speculate=False)
    return asked_for(policy, history)
