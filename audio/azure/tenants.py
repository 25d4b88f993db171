"""Engines of tenants that bring keys of their own: one engine, hence one set of connections, per tenant and credential.

Owns which tenant has which engine, bounded: the least recently used one makes room. A tenant whose
credential changed gets another engine; connections made with the old one are closed and never serve anybody again.
Knows no SDK. Driven by the composition root.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from audio.azure.credentials import Credential


class Closable(Protocol):
    """An engine, as far as this module cares."""

    async def aclose(self) -> None: ...


E = TypeVar("E", bound=Closable)


class TenantEngines(Generic[E]):
    """See the module. ``most`` engines at a time; all calls on one event loop."""

    def __init__(self, make: Callable[[Credential], E], most: int = 32) -> None:
        if most < 1:
            raise ValueError("there must be room for one tenant")
        self._make = make
        self._most = most
        self._engines: OrderedDict[str, tuple[str, E]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._engines)

    async def engine(self, tenant: str, credential: Credential) -> E:
        """The tenant's engine for this credential; streams open on an engine that makes room go on until their next
        connection."""
        known = self._engines.pop(tenant, None)
        if known is not None and known[0] == credential.fingerprint:
            self._engines[tenant] = known
            return known[1]
        if known is not None:
            await known[1].aclose()
        while len(self._engines) >= self._most:
            _, (_, idle) = self._engines.popitem(last=False)
            await idle.aclose()
        made = self._make(credential)
        self._engines[tenant] = (credential.fingerprint, made)
        return made

    async def aclose(self) -> None:
        """Release all of them."""
        while self._engines:
            _, (_, engine) = self._engines.popitem()
            await engine.aclose()
