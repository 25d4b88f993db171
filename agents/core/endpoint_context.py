"""What the conversation so far means for the end of the next turn: the agent has asked for a number, a name, a list.

Pure; knows the history and the policy. Driven by ``agents.core.policy_now``.
"""

from __future__ import annotations

from dataclasses import replace

from agents.core.endpoint_signals import expected_by
from agents.core.policy import TurnPolicy
from agents.loop.history import History


def asked_for(policy: TurnPolicy, history: History) -> TurnPolicy:
    """The policy, knowing what the agent has just asked for, if the agent had the last word."""
    said = history.last_reply
    expected = expected_by(said, policy.rules) if said and policy.auto_end else None
    return policy if expected == policy.expected else replace(policy, expected=expected)
