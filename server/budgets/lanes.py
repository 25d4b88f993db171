"""Whose keys a conversation runs on, which decides who is to pay. Pure.

A session is *embedded* where no engine it may use is a service: nobody's keys, and no money. Else it is *managed*
where any service it may use runs on the operator's key for a tenant that brought none for it, and *byok* where all of
them run on the tenant's own. A session that is partly the one and partly the other is managed, and counted whole: its
usage event has one lane, and a budget that ends a little early is better than one that ends late. The operator's own
tenants (the settings' ``api_keys`` and the person at the machine) bring the operator's keys: ``budgets.own_lane``.
"""

from __future__ import annotations

from typing import Final

from metering.usage import Mode
from server.budgets.prices import Chain
from server.contracts.errors import ErrorCode
from server.engine_source import Lease
from server.errors import Refused
from server.settings import Settings
from server.tenant_settings import RESERVED

LOCAL: Final = frozenset({"embedded", "whisper", "piper", "scripted", "none", "unknown"})
"""Engines that run on this machine."""


def lane_of(settings: Settings, tenant_id: str, chain: Chain, own: frozenset[str]) -> Mode:
    """The lane of a session. ``own`` are the services for which the tenant brought keys (``azure``, ``model``)."""
    speech = {who.provider for who in (*chain.stt, *chain.tts)} - LOCAL
    model = {who.provider for who in chain.llm} - LOCAL
    if not speech and not model:
        return "embedded"
    if tenant_id in RESERVED:
        return settings.budgets.own_lane
    all_own = (not speech or speech <= own) and (not model or "model" in own)
    return "byok" if all_own else "managed"


def own_keys(settings: Settings, tenant_id: str) -> frozenset[str]:
    """The services a tenant brought keys for in the settings."""
    return frozenset("azure" for tenant in settings.tenants if tenant.id == tenant_id and tenant.azure is not None)


def brought(lease: Lease) -> frozenset[str]:
    """The services this session has on keys the tenant keeps in the vault."""
    speech = frozenset({"azure"}) if lease.own else frozenset[str]()
    return speech | {"model"} if lease.engines.agent.profile.own else speech


def granted(wish: Mode | None, lane: Mode, tenant_id: str, chain: Chain) -> Mode:
    """The lane a client gets that asks for one. Raises Refused where it cannot have it."""
    if wish is None or lane in (wish, "embedded"):
        return lane
    if wish == "embedded":
        if any(who.provider not in LOCAL for who in chain.all):
            raise Refused(ErrorCode.REQUEST_INVALID, "Not every engine has an embedded one beside it here.")
        return "embedded"
    if wish == "byok":
        raise Refused(ErrorCode.BYOK_MISSING_KEY, "No provider key of yours is stored for every service this needs.")
    if tenant_id in RESERVED:
        return "managed"
    raise Refused(ErrorCode.REQUEST_INVALID, "The managed lane is for tenants that bring no keys of their own.")
