"""Opening one of our sessions over a telephone leg: whoever is on the line, the same engines, options and attribution.

Knows no manners and no carrier. Driven by ``server.telephony.conversation`` and ``server.telephony.consultation``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agents.core.language import rules_for
from agents.core.options import SessionOptions
from agents.loop.agent import Agent
from server.contracts.session import TurnDetection
from server.engine_source import Lease
from server.guard import Identity
from server.host import Host
from server.ids import new_id
from server.observability.arrival import Arrival
from server.sessions.live import LiveSession
from server.sessions.voice_options import turn_policy
from server.telephony.delivery import PhoneDelivery
from server.telephony.port import PhoneLeg


async def open_session(
    host: Host,
    owner: Identity,
    leg: PhoneLeg,
    locale: str,
    delivery: PhoneDelivery,
    shaped: Callable[[Agent], Agent],
) -> LiveSession:
    """A session that speaks at the leg's rate, with the agent the call names as ``shaped`` has it. Raises Refused."""
    info = leg.info
    lease = await host.lease(owner, info.parameters.get("agent_id") or None, locale)
    try:
        agent = shaped(lease.engines.agent)
        latency = host.latencies.phone(owner, agent.spec.agent_id, locale)
        policy = turn_policy(TurnDetection(), "normal")
        latency = latency.waiting(policy.max_wait_ms)
        identity = host.identity(owner, new_id("ses"))
        options = SessionOptions(
            identity=replace(identity, carrier=info.carrier, leg=info.direction),
            locale=locale,
            policy=replace(latency.policy(policy), rules=rules_for(locale)),
            budget=latency.enforced_budget,
            output_rate_hz=leg.rate_hz,
            greet=False,
        )
    except BaseException:
        lease.give_back()
        raise
    lent = Lease(replace(lease.engines, agent=agent), lease.give_back)
    return host.open_phone(options, lent, delivery, owner, Arrival("phone"))
