"""Tenants' own language models: made from their keys when first needed, bounded, released when idle, never shared.

``TenantModels`` owns one chain of models for each tenant at work: its keys in the order in which they were made, each
with a breaker of its own, and the embedded model where the server has one; nobody's but the tenant's and nothing at
the operator's cost. ``TenantModel`` is what a session holds: it looks the chain up at every request, so that a key
which was rotated or deleted is not used again, and one that was added is, from the next turn on. Driven by
``server.host``; the office runs ``tend``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Final

import anyio

from agents.errors import KeyMissing, KeyRejected, ModelError, ModelUnavailable
from agents.models.fallback import FallbackModel
from agents.models.guarded import GuardedModel
from agents.models.port import LanguageModel, Message, ModelEvent, ModelProfile, ModelRequest
from audio.fallback import OnDegraded, nobody_told
from server.contracts.errors import ErrorCode
from server.errors import Refused
from server.vault.addresses import Addresses
from server.vault.errors import VaultError
from server.vault.provider_keys import MODELS, ProviderKey
from server.vault.rules import OwnKeyRules
from server.vault.speech import RETRY_AFTER_S, UNREADABLE
from server.vault.tenant_clients import ModelLimits, load_sdk, tenant_model
from server.vault.tenant_keys import OwnKey, TenantKeys

logger = logging.getLogger(__name__)

EMBEDDED: Final = "embedded"
CLOSE_LIMIT_S: Final = 5.0
CHECKS_PER_IDLE: Final = 4
_MISSING: Final = "This tenant must bring a key of its own for a language model, and has none (POST /v1/provider-keys)."


@dataclass(frozen=True, slots=True)
class ShelfOptions:
    """``most`` tenants' models at a time; what nobody uses for ``idle_s`` is released."""

    most: int
    idle_s: float


class _Own:
    """A tenant's chain, and who uses it."""

    def __init__(self, keys: tuple[OwnKey, ...], own: list[GuardedModel], others: list[GuardedModel], wait_s: float):
        self.identity = tuple(each.identity for each in keys)
        self.own = own
        self.chain = FallbackModel([*own, *others], takeover_s=wait_s)
        self.users = 0
        self.idle_since_s = 0.0


class TenantModels:
    """See the module. All calls on one event loop."""

    def __init__(
        self,
        keys: TenantKeys,
        rules: OwnKeyRules,
        addresses: Addresses,
        limits: ModelLimits,
        options: ShelfOptions,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = keys
        self.rules = rules
        self._addresses = addresses
        self._limits = limits
        self._options = options
        self._now_s = now_s
        self._held: dict[str, _Own] = {}
        self._leaving: list[_Own] = []

    @property
    def tenants(self) -> int:
        """Tenants whose models are at hand."""
        return len(self._held)

    async def prepare(self, tenant_id: str) -> None:
        """Have the tenant's keys at hand. Raises Refused where it must have one and has none."""
        try:
            keys = _for_models(await self.keys.of(tenant_id))
        except VaultError as error:
            logger.warning("a tenant's keys cannot be read", extra={"tenant_id": tenant_id, "reason": str(error)})
            raise Refused(ErrorCode.PROVIDER_UNAVAILABLE, UNREADABLE, retry_after_s=RETRY_AFTER_S) from error
        if keys:
            await load_sdk()
        elif self.rules.requires(tenant_id):
            raise Refused(ErrorCode.BYOK_MISSING_KEY, _MISSING)

    def now(self, tenant_id: str, server: LanguageModel) -> FallbackModel | None:
        """The tenant's chain as far as it is known without a wait; ``None`` where it has none, or there is no room."""
        keys = self.keys.held(tenant_id)
        if keys is None:
            held = self._held.get(tenant_id)
            return None if held is None else held.chain
        try:
            return self._of(tenant_id, mine, server).chain if (mine := _for_models(keys)) else None
        except ModelError:
            return None

    @contextmanager
    def using(self, tenant_id: str, keys: tuple[OwnKey, ...], server: LanguageModel) -> Generator[FallbackModel]:
        """The chain of these keys, not released while the body runs. Raises ModelError."""
        own = self._of(tenant_id, keys, server)
        own.users += 1
        try:
            yield own.chain
        finally:
            own.users -= 1
            own.idle_since_s = self._now_s()

    async def tend(self) -> None:
        """Release what idles or is past, until cancelled."""
        while True:
            await anyio.sleep(min(self._options.idle_s / CHECKS_PER_IDLE, 2.0))
            await self.release_idle()

    async def release_idle(self) -> None:
        """Release what nobody uses any more."""
        now_s = self._now_s()
        for tenant_id, own in list(self._held.items()):
            keys = self.keys.held(tenant_id)
            past = keys is not None and tuple(each.identity for each in _for_models(keys)) != own.identity
            if past or (not own.users and now_s - own.idle_since_s >= self._options.idle_s):
                self._leaving.append(self._held.pop(tenant_id))
        free = [own for own in self._leaving if not own.users]
        self._leaving = [own for own in self._leaving if own.users]
        for own in free:
            await _close(own)

    async def aclose(self) -> None:
        """Release all of them, whoever uses them."""
        everybody, self._held, self._leaving = [*self._held.values(), *self._leaving], {}, []
        for own in everybody:
            await _close(own)

    def _of(self, tenant_id: str, keys: tuple[OwnKey, ...], server: LanguageModel) -> _Own:
        held = self._held.get(tenant_id)
        if held is not None and held.identity == tuple(each.identity for each in keys):
            return held
        if held is not None:
            self._leaving.append(self._held.pop(tenant_id))
        elif len(self._held) >= self._options.most:
            self._make_room()
        models = [GuardedModel(self._model(each)) for each in keys]
        own = _Own(keys, models, _embedded_of(server), self._limits.takeover_s)
        own.idle_since_s = self._now_s()
        self._held[tenant_id] = own
        return own

    def _model(self, own: OwnKey) -> LanguageModel:
        key = own.key
        model = tenant_model(key.provider, key.place, own.secret, self._addresses.address_of, self._limits)
        return _Watched(model, key, self.keys)

    def _make_room(self) -> None:
        idle = sorted((own.idle_since_s, tenant_id) for tenant_id, own in self._held.items() if not own.users)
        if not idle:
            raise ModelUnavailable("Too many tenants' models are in use at once.", provider="none", retry_after_s=1.0)
        self._leaving.append(self._held.pop(idle[0][1]))


class _Watched:
    """A tenant's model that tells when its key was used, and when it is refused or taken again."""

    def __init__(self, model: LanguageModel, key: ProviderKey, keys: TenantKeys) -> None:
        self._model = model
        self._key = key
        self._keys = keys

    @property
    def profile(self) -> ModelProfile:
        return self._model.profile

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        await self._model.warm_up(messages)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        self._keys.used(self._key)
        has_answered = False
        try:
            async with aclosing(self._model.stream(request)) as events:
                async for event in events:
                    if not has_answered:
                        has_answered = True
                        self._keys.mark(self._key, "active")
                    yield event
        except KeyRejected:
            self._keys.mark(self._key, "rejected")
            raise

    async def aclose(self) -> None:
        await self._model.aclose()


class TenantModel:
    """One session's model: the tenant's own where it has one at that moment, else the server's."""

    def __init__(
        self, tenant_id: str, models: TenantModels, server: LanguageModel, on_degraded: OnDegraded = nobody_told
    ) -> None:
        """``server`` is shared by all and belongs to the engines."""
        self._tenant_id = tenant_id
        self._models = models
        self._server = server
        self._on_degraded = on_degraded
        self._told: tuple[FallbackModel, FallbackModel] | None = None
        """A chain, and the same for this session, which tells of each change once."""
        self._servers = server.for_session(on_degraded) if isinstance(server, FallbackModel) else server

    @property
    def profile(self) -> ModelProfile:
        """Of the model that would be asked now."""
        return self.current.profile

    @property
    def current(self) -> LanguageModel:
        """The model that would be asked now: the tenant's own, with what stands in for it, or the server's."""
        return self._models.now(self._tenant_id, self._server) or self._servers

    def for_session(self, on_degraded: OnDegraded) -> TenantModel:
        """The same, telling this session when another has to step in."""
        return TenantModel(self._tenant_id, self._models, self._server, on_degraded)

    async def warm_up(self, messages: tuple[Message, ...]) -> None:
        """Nothing: a tenant's model is paid by the tenant, and only asked when it is needed."""
        del messages

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent]:
        """See the port. Raises KeyMissing where the tenant must have a key and has none any more."""
        try:
            keys = _for_models(await self._models.keys.of(self._tenant_id))
        except VaultError as error:
            logger.warning("a tenant's keys cannot be read", extra={"tenant_id": self._tenant_id, "reason": str(error)})
            raise ModelUnavailable(UNREADABLE, provider="vault") from error
        if not keys:
            if self._models.rules.requires(self._tenant_id):
                raise KeyMissing(_MISSING, provider="none")
            async with aclosing(self._servers.stream(request)) as events:
                async for event in events:
                    yield event
            return
        await load_sdk()
        with self._models.using(self._tenant_id, keys, self._server) as chain:
            async with aclosing(self._mine(chain).stream(request)) as events:
                async for event in events:
                    yield event

    async def aclose(self) -> None:
        """Nothing of its own."""

    def _mine(self, chain: FallbackModel) -> FallbackModel:
        if self._told is None or self._told[0] is not chain:
            self._told = (chain, chain.for_session(self._on_degraded))
        return self._told[1]


def _for_models(keys: tuple[OwnKey, ...]) -> tuple[OwnKey, ...]:
    return tuple(own for own in keys if own.key.provider in MODELS)


def _embedded_of(server: LanguageModel) -> list[GuardedModel]:
    """The server's models that cost nobody anything."""
    models = server.models if isinstance(server, FallbackModel) else (GuardedModel(server),)
    return [each for each in models if each.profile.provider == EMBEDDED]


async def _close(own: _Own) -> None:
    """Its own models; the embedded one is the server's."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_LIMIT_S):
        for each in own.own:
            try:
                await each.model.aclose()
            except ModelError as error:
                logger.warning("a tenant's model did not close", extra={"reason": str(error)})
